//! Debezium's own consumers, in a Kafka Connect worker.

use stack::{Connect, Kafka, Lifetime, Properties};

/// The plugins are found, each in a folder of its own, and the worker answers.
#[tokio::test(flavor = "multi_thread")]
async fn worker_finds_debeziums_parts() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("causeway-connect-{}", std::process::id()));
    let kafka = Kafka::start(&folder.join("kafka"), Lifetime::WithParent).await?;
    let none = Properties::new();
    let connect = Connect::start(&folder.join("connect"), Lifetime::WithParent, kafka.brokers(), &none, &[]).await?;
    let plugins = connect.get("/connector-plugins?connectorsOnly=false").await?;
    for class in [
        "io.apicurio.registry.utils.converter.AvroConverter",
        "io.debezium.transforms.ExtractNewRecordState",
        "io.debezium.connector.jdbc.JdbcSinkConnector",
        "io.debezium.connector.postgresql.PostgresConnector",
    ] {
        assert!(plugins.contains(class), "{class} is not among {plugins}");
    }
    drop((connect, kafka));
    Ok(std::fs::remove_dir_all(folder)?)
}

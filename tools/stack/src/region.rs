//! A whole region: two clinics' databases, Causeway's own, Kafka and the registry.

use crate::{
    forgetful::Forgetful, free_port, kafka::Kafka, part::Part, postgres::Postgres, process::Lifetime, record::Running,
    registry::Registry,
};
use anyhow::Context;
use std::path::Path;

pub const GP_DATABASE: &str = "riverside";
pub const HOSPITAL_DATABASE: &str = "stmarys";
/// Causeway's own database, and the role that owns it.
pub const OWN_DATABASE: &str = "causeway";

#[derive(Debug)]
pub struct Region {
    /// The GP practice `riverside`.
    pub gp: Postgres,
    /// The hospital `stmarys`.
    pub hospital: Postgres,
    /// Causeway's own data, in a database owned by the role `causeway`.
    pub own: Postgres,
    pub kafka: Kafka,
    /// Stands before Kafka, where a test wants it.
    pub forgetful: Option<Forgetful>,
    pub registry: Registry,
}

impl Region {
    /// Starts everything at once under `folder`, with empty databases, and waits until all is ready.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::start_for(folder, Lifetime::WithParent).await
    }

    /// The same, with Kafka's clients behind a [`Forgetful`].
    pub async fn start_behind(folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut region = Self::start_with(folder, Lifetime::WithParent, Some(port)).await?;
        let back = region.kafka.back().context("the broker has no second listener")?;
        region.forgetful = Some(Forgetful::start(port, back).await?);
        Ok(region)
    }

    pub async fn start_for(folder: &Path, lifetime: Lifetime) -> anyhow::Result<Self> {
        Self::start_with(folder, lifetime, None).await
    }

    async fn start_with(folder: &Path, lifetime: Lifetime, before_kafka: Option<u16>) -> anyhow::Result<Self> {
        let at = |name: &str| folder.join(name);
        let (gp, hospital, own) = (at(GP_DATABASE), at(HOSPITAL_DATABASE), at(OWN_DATABASE));
        let (kafka, registry) = (at("kafka"), at("registry"));
        let (gp, hospital, own, kafka, registry) = tokio::try_join!(
            cluster(GP_DATABASE, &gp, lifetime, None),
            cluster(HOSPITAL_DATABASE, &hospital, lifetime, None),
            cluster(OWN_DATABASE, &own, lifetime, Some(OWN_DATABASE)),
            async {
                match before_kafka {
                    Some(port) => Kafka::start_behind(port, &kafka, lifetime).await,
                    None => Kafka::start(&kafka, lifetime).await,
                }
            },
            Registry::start(&registry, lifetime),
        )?;
        Ok(Self { gp, hospital, own, kafka, forgetful: None, registry })
    }

    /// Every component, for a test that hurts each in turn.
    pub fn parts(&mut self) -> [&mut Part; 5] {
        [&mut self.gp, &mut self.hospital, &mut self.own, &mut self.kafka, &mut self.registry]
    }

    /// Where everything is, as `.local/stack.env` tells it. The clinics' URLs are their
    /// superusers', Causeway's is its database's owner.
    pub fn addresses(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("KAFKA_BROKERS", self.kafka.brokers().to_owned()),
            ("REGISTRY_URL", self.registry.url()),
            ("CAUSEWAY_URL", self.own.url_with_password(OWN_DATABASE, OWN_DATABASE)?),
            ("GP_URL", self.gp.url_with_password(crate::SUPERUSER, GP_DATABASE)?),
            ("HOSPITAL_URL", self.hospital.url_with_password(crate::SUPERUSER, HOSPITAL_DATABASE)?),
        ])
    }

    /// What runs, for a later process to stop.
    pub fn running(&mut self) -> anyhow::Result<Vec<Running>> {
        self.parts().into_iter().map(|part| Running::of(part)).collect()
    }

    /// Lets a detached region live on by itself.
    pub fn release(mut self) {
        self.parts().into_iter().for_each(Part::release);
    }

    /// Stops everything, all at once; tells the first thing that did not stop by itself.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let stopped = tokio::join!(
            self.gp.stop(),
            self.hospital.stop(),
            self.own.stop(),
            self.kafka.stop(),
            self.registry.stop(),
        );
        stopped.0.and(stopped.1).and(stopped.2).and(stopped.3).and(stopped.4)
    }
}

/// A cluster with one database, owned by a role of its own where one is named.
async fn cluster(name: &str, folder: &Path, lifetime: Lifetime, role: Option<&str>) -> anyhow::Result<Postgres> {
    let cluster = Postgres::start(name, folder, lifetime).await?;
    let client = cluster.connect("postgres").await?;
    let found = client.query_opt("select from pg_database where datname = $1", &[&name]).await;
    if found.context("cannot look for the database")?.is_none() {
        if let Some(role) = role {
            cluster.create_role(role, "login").await?;
        }
        cluster.create_database(name, role.unwrap_or(crate::SUPERUSER)).await?;
    }
    Ok(cluster)
}

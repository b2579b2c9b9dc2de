fn main() {
    let rt = tokio::runtime::Runtime::new().unwrap();
    let mode = std::env::args().nth(1).unwrap();
    rt.block_on(async {
        let folder = std::path::PathBuf::from("/tmp/x/try");
        if mode == "capture" {
            let report = proof::bench_capture::run(&folder, |t| println!("{t}")).await.unwrap();
            report.print();
        } else {
            let mut running =
                proof::running::Running::prepare(&folder, &proof::running::Histories { seed: 1, people: 300 }, |_| {})
                    .await
                    .unwrap();
            running.call_witnesses().await.unwrap();
            running.launch().unwrap();
            println!("{} {:?}", running.gateway, running.passwords);
            for _ in 0..mode.parse().unwrap_or(30) {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                let s = proof::running::ask(&running.processes["connector"].ops, "/status").await.unwrap_or_default();
                println!("{s}");
            }
            for p in running.processes.values() {
                println!("{}", proof::running::ask(&p.ops, "/readyz").await.unwrap_or_default());
            }
            let own = running.own().await.unwrap();
            for row in own
                .query("select status, count(*) from identity.source_patient group by 1", &[])
                .await
                .unwrap_or_default()
            {
                println!("{} {}", row.get::<_, String>(0), row.get::<_, i64>(1));
            }
            let o = proof::order::read(running.region.kafka.brokers(), "patient.events").await.unwrap();
            println!("events {} dup {} reord {} {:?}", o.events, o.duplicated, o.reordered, o.first);
            let v = proof::views::compare(
                &running.source("riverside").await.unwrap(),
                &running.source("stmarys").await.unwrap(),
                &own,
            )
            .await
            .unwrap();
            println!(
                "compared {} missing {} extra {} different {} doubled {} waiting {} unacc {} quar {} {:?}",
                v.compared,
                v.missing,
                v.extra,
                v.different,
                v.doubled,
                v.waiting,
                v.unaccounted,
                v.quarantined,
                v.first
            );
            for (w, src) in running.witnesses.iter().zip(["riverside", "stmarys"]) {
                let _ = w;
                let keys = proof::witness::keys(&running.source(src).await.unwrap()).await.unwrap();
                let l = proof::log::read(
                    running.region.kafka.brokers(),
                    &running.region.registry.url(),
                    &format!("changes.{src}"),
                    &keys,
                )
                .await
                .unwrap();
                println!(
                    "{src} changes {} snapshot {} holes {} foreign {}",
                    l.changes.len(),
                    l.snapshot_rows,
                    l.holes,
                    l.foreign
                );
            }
            running.stop().await.unwrap();
        }
    });
}

//! `causeway run`: the services of a region in one process, all or some.

use crate::{
    Config,
    settings::Settings,
    sources::{Sources, Statuses, Work, World},
};
use anyhow::Context;
use boot::{Stop, failpoint, health::Health, ops, organisations::Organisations, restart, shown::Shown};
use change_log::Registry;
use clap::ValueEnum;
use deadpool_postgres::Pool;
use gateway::GatewayError;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Connections to Causeway's own database of the linker and the sinks. The gateway has its own: `gateway::Pools`.
const INGESTION_CONNECTIONS_MAX: usize = 8;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: Config,
    /// Only these services, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Service>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Service {
    Connector,
    Normaliser,
    Linker,
    Sinks,
    Gateway,
}

impl Service {
    /// What it does for each source.
    const fn work(self) -> Option<Work> {
        match self {
            Self::Connector => Some(Work::Capture),
            Self::Normaliser => Some(Work::Normalise),
            Self::Linker | Self::Sinks | Self::Gateway => None,
        }
    }
}

type Services = JoinSet<anyhow::Result<()>>;

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = Settings::load_to_run(&arguments.config)?;
    boot::logs::start(settings.logs.format)?;
    boot::panics::withhold_messages();
    arm_failpoints()?;
    let metrics = ops::metrics()?;
    let stop = boot::stop::on_signal()?;
    let all = || Service::value_variants().iter().copied();
    let wanted: BTreeSet<Service> =
        if arguments.only.is_empty() { all().collect() } else { arguments.only.into_iter().collect() };
    let region = Region::new(settings, stop.clone())?;
    let mut services = JoinSet::new();
    for service in &wanted {
        region.start(*service, &mut services)?;
    }
    let shown = Arc::<Shown<Statuses>>::default();
    region.start_sources(&wanted, Arc::clone(&shown), &mut services);
    let health = region.health.clone();
    let status = Arc::new(move || shown.view_of(|shown| shown.told(&health)));
    let address = ops::serve(&region.settings.ops, region.health.clone(), metrics, status, stop.clone()).await?;
    tracing::info!(%address, services = ?wanted, "running");
    tokio::spawn(end_in_time(stop.clone()));
    let mut outcome = Ok(());
    while let Some(ended) = services.join_next().await {
        let ended = ended.context("a service panicked").and_then(|result| result);
        if let Err(error) = ended {
            tracing::error!(error = format!("{error:#}"), "a service stopped; stopping the others");
            outcome = outcome.and(Err(error));
            stop.cancel();
        }
    }
    tracing::info!("stopped");
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("causeway: {error:#}");
            1
        }
    };
    // Every service has ended. What is left are clients of Kafka that they shared: those of a broker that is away take long
    // to end, and nothing waits for them.
    std::process::exit(code)
}

/// After the stop signal, services have so long to end.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A stop that takes longer is as good as a kill: what a service was doing then is found at the next start. On a thread of
/// its own, because what hangs may be in the runtime's way.
async fn end_in_time(stop: Stop) {
    stop.cancelled().await;
    std::thread::spawn(|| {
        std::thread::sleep(STOP_MAX);
        tracing::warn!("a service did not end within {} s of the stop signal: it is left as it is", STOP_MAX.as_secs());
        std::process::exit(0)
    });
}

/// For tests of crashes; unset everywhere else.
fn arm_failpoints() -> anyhow::Result<()> {
    let Ok(text) = std::env::var(failpoint::VARIABLE) else { return Ok(()) };
    if failpoint::arm(&text)? > 0 {
        tracing::warn!(failpoints = text, "{} is set: this process is going to crash", failpoint::VARIABLE);
    }
    Ok(())
}

/// What the services of one process share.
struct Region {
    settings: Settings,
    registry: Registry,
    pool: Pool,
    organisations: Organisations,
    health: Health,
    stop: Stop,
    /// What codes and concept sets are read by.
    release: Option<terminology::Release>,
}

impl Region {
    fn new(mut settings: Settings, stop: Stop) -> anyhow::Result<Self> {
        let registry = Registry::new(&settings.registry)?;
        let pool = boot::database::pool(&settings.database, INGESTION_CONNECTIONS_MAX)?;
        let organisations = settings.organisations();
        let release = settings.terminology.open()?;
        settings.normaliser.release.clone_from(&release);
        Ok(Self { settings, registry, pool, organisations, health: Health::new(), stop, release })
    }

    /// What is done for sources, all of it in tasks: a source has no thread of its own.
    fn start_sources(&self, wanted: &BTreeSet<Service>, shown: Arc<Shown<Statuses>>, services: &mut Services) {
        let works: BTreeSet<Work> = wanted.iter().filter_map(|service| service.work()).collect();
        let folder = self.settings.folder.clone();
        if works.is_empty() && folder.is_none() {
            return;
        }
        let world = World {
            kafka: self.settings.kafka.clone(),
            registry: self.registry.clone(),
            normaliser: self.settings.normaliser.clone(),
            organisations: self.organisations.clone(),
            health: self.health.clone(),
            stop: self.stop.clone(),
            works,
        };
        let own = self.settings.sources.iter().take(self.settings.own).cloned().collect();
        let members = self.settings.members.clone().filter(|_| !world.works.is_empty());
        let running = Sources::new(world, shown).run(own, self.settings.bad.clone(), folder, members);
        services.spawn(async move {
            running.await;
            Ok(())
        });
    }

    fn start(&self, service: Service, services: &mut Services) -> anyhow::Result<()> {
        let (kafka, registry, pool) = (self.settings.kafka.clone(), self.registry.clone(), self.pool.clone());
        let (health, stop) = (self.health.clone(), self.stop.clone());
        match service {
            // Those of all sources: see above.
            Service::Connector | Service::Normaliser => {}
            Service::Linker => {
                let partitions = self.settings.normaliser.events_partitions;
                let weights = self.settings.site.read_weights()?;
                spawn(services, "the linker".to_owned(), move || {
                    linker::run(partitions, kafka, registry, pool, weights, health, stop)
                });
            }
            Service::Sinks => {
                let world = sink_views::World { kafka, registry, pool };
                let alerting = alerting(&self.settings, self.release.as_ref(), world)?;
                let (settings, views) = (self.settings.alerts.clone(), self.settings.views.clone());
                spawn(services, "the sinks".to_owned(), move || {
                    sink_alerts::run(settings, views, alerting, health, stop)
                });
            }
            Service::Gateway => {
                let (site, pools) = (self.site()?, gateway::Pools::new(&self.settings.database)?);
                let (users, passwords) = (self.settings.site.users.clone(), self.settings.site.passwords_file.clone());
                let settings = self.settings.gateway.clone();
                let part = health.part("gateway");
                spawn(services, "the gateway".to_owned(), async move || {
                    restart::until_stopped(&part, &stop, GatewayError::worth_retrying, async || {
                        if let Some(passwords) = &passwords {
                            gateway::users::seed(&pools.pages, &users, passwords).await?;
                        }
                        let (kafka, registry, health) = (kafka.clone(), registry.clone(), health.clone());
                        gateway::run(
                            settings.clone(),
                            kafka,
                            registry,
                            pools.clone(),
                            site.clone(),
                            health,
                            stop.clone(),
                        )
                        .await
                    })
                    .await
                });
            }
        }
        Ok(())
    }

    fn site(&self) -> anyhow::Result<gateway::Site> {
        let site = &self.settings.site;
        Ok(gateway::Site {
            teams: site.read_teams()?,
            organisations: self.organisations.clone(),
            limits: site.closed_limits(self.release.as_ref(), self.settings.lab())?,
            agreements: gateway::Agreements::read(&site.agreements)?,
            consent: gateway::consent(site.consent.as_deref())?,
            ingredients: site.closed_medicines(self.release.as_ref())?,
            lab: self.settings.lab().clone(),
            weights: site.read_weights()?.map(std::sync::Arc::new),
        })
    }
}

/// What the sinks work with.
pub fn alerting(
    settings: &Settings,
    release: Option<&terminology::Release>,
    world: sink_views::World,
) -> anyhow::Result<sink_alerts::Alerting> {
    Ok(sink_alerts::Alerting {
        world,
        database: settings.database.clone(),
        teams: settings.site.read_teams()?,
        organisations: settings.organisations(),
        limits: settings.site.closed_limits(release, settings.lab())?,
    })
}

/// A thread of its own for the service's loop; what the loop spawns runs on the shared workers.
fn spawn<E, F>(services: &mut Services, name: String, service: impl FnOnce() -> F + Send + 'static)
where
    E: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<(), E>>,
{
    let runtime = tokio::runtime::Handle::current();
    services.spawn_blocking(move || runtime.block_on(service()).with_context(|| name));
}

//! `primepool dashboard`: the live pool as a read-only web page.

mod access;
mod history;
mod server;

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::anyhow;
use primepool_common::{
    broker::{BrokerError, Endpoint},
    exit::Exit,
    output::print,
    shutdown::StopSignals,
    text::reason,
};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};

use self::{
    access::{Access, Token},
    history::History,
    server::{DashboardState, Server},
};
use crate::{Failure, cli::DashboardArgs, observer::Observer, throughput::Throughput, unreachable};

/// Serves the page until a signal stops the program.
///
/// # Errors
/// Other machines could see the page without a token, the address cannot be bound, or the broker
/// cannot be reached at the start or refuses.
pub(crate) async fn run(endpoint: Endpoint, args: &DashboardArgs) -> Result<Exit, Failure> {
    let usage = |text: String| (Exit::Usage, anyhow!(text));
    let incomplete = |error: std::io::Error| (Exit::Incomplete, anyhow!(error));
    let variable = env::var("PRIMEPOOL_DASHBOARD_TOKEN").ok();
    let token = Token::read(args.token_file.as_deref(), variable.as_deref()).map_err(usage)?;
    let access = Access::new(args.listen, &args.hosts, token).map_err(usage)?;
    let mut signals = StopSignals::listen().map_err(incomplete)?;
    let shown = async {
        let listener = TcpListener::bind(args.listen).await.map_err(|error| {
            usage(format!(
                "cannot listen on {}: {error}; give another --listen ADDRESS:PORT, with port 0 for any",
                args.listen
            ))
        })?;
        let mut observer = Observer::connect(endpoint).await.map_err(unreachable)?;
        let server = Server::new(
            access,
            DashboardState {
                report: None,
                history: History::new(args.interval),
                trouble: None,
            },
        );
        let address = listener.local_addr().map_err(incomplete)?;
        print(&format!("http://{address}/")).map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
        tokio::select! {
            never = server.clone().serve(listener) => match never {},
            failed = look(&mut observer, &server, args.interval) => failed,
        }
    };
    tokio::select! {
        shown = shown => shown,
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}

/// Polls the pool for ever.
async fn look(observer: &mut Observer, server: &Server, every: Duration) -> Result<Exit, Failure> {
    let mut throughput = Throughput::default();
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tell = |error: &BrokerError| {
        let why = reason(&error.to_string());
        server.state().trouble = Some(format!("trying again: {why}"));
    };
    loop {
        let report = observer.next_report(&mut tick, tell).await;
        let report = report.map_err(unreachable)?;
        throughput.note(&report.nodes, Instant::now());
        let mut state = server.state();
        let departed = observer.take_departed();
        state
            .history
            .note(&report, &departed, throughput.now(), now_ms());
        state.report = Some(report);
        state.trouble = None;
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

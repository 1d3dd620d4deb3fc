//! The nodes of a measurement: consumers, one a node, that come and go together.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    launcher::{Launcher, Place},
    process::{Stop, cpu_s, last_lines, own_settings},
    queue::JobsQueue,
    share::Share,
};

/// Time between two looks at nodes that are about to end.
const LOOK: Duration = Duration::from_millis(20);

/// How long nodes may take to join, and how much longer for each of them.
const JOIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(300));

/// How long nodes may take to end when they are asked to.
const END: Duration = Duration::from_secs(40);

/// How long the broker may take to notice that they have ended.
const NOTICE: Duration = Duration::from_secs(10);

/// How nodes are started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// As what.
    pub launcher: &'a Launcher,
    /// Where consumer and producer are on this machine.
    pub programs: &'a Path,
    /// Where they join.
    pub queue: &'a JobsQueue,
    /// Cores that each may use, if they are limited.
    pub cores: Option<f64>,
    /// Units that each consumer has at hand; the consumer's default without.
    pub prefetch: Option<u32>,
    /// Where metrics wait that cannot be sent.
    pub spool: &'a Path,
}

/// Nodes that take work from the broker. They end when this is dropped, at once; see [`Cluster::end`].
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    plan: Plan<'a>,
    nodes: Vec<Node>,
}

impl<'a> Cluster<'a> {
    /// Starts so many nodes with so many workers each, with their logs in `dir`, and waits until all take work.
    ///
    /// # Errors
    /// Somebody else's consumers are there; a node cannot be started, ended early, or has not joined in time.
    pub(crate) fn start(
        plan: Plan<'a>,
        dir: &Path,
        nodes: u32,
        workers: u32,
        stop: &Stop,
    ) -> Result<Self> {
        plan.queue.is_free()?;
        let mut cluster = Self {
            plan,
            nodes: Vec::new(),
        };
        for number in 1..=nodes {
            cluster.nodes.push(Node::start(plan, dir, number, workers)?);
        }
        let longest = JOIN.0 + JOIN.1 * nodes;
        let state = plan.queue.until(longest, |state| {
            cluster.live()?;
            if stop.asked() {
                bail!("stopped");
            }
            Ok(state.consumers >= nodes)
        })?;
        match state.consumers {
            joined if joined < nodes => bail!(
                "{joined} of {nodes} nodes have joined within {} s: see their logs, {}",
                longest.as_secs(),
                dir.join("node-*.log").display()
            ),
            joined if joined > nodes => bail!(
                "{joined} consumers take jobs where {nodes} nodes were started: end the others"
            ),
            _ => Ok(cluster),
        }
    }

    /// Looks that no node has ended.
    ///
    /// # Errors
    /// One has; with the end of its log.
    pub(crate) fn live(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Some(status) = node.child.try_wait()? {
                bail!("{} ended ({status}): {}", node.name, last_lines(&node.log));
            }
        }
        Ok(())
    }

    /// CPU seconds so far, if the nodes are processes of this machine.
    pub(crate) fn cpu_s(&self) -> Option<f64> {
        if !self.plan.launcher.is_process() {
            return None;
        }
        self.nodes.iter().map(|node| cpu_s(node.child.id())).sum()
    }

    /// Asks all to end, and waits until they have and the broker knows; kills what takes too long.
    pub(crate) fn end(mut self) {
        for node in &mut self.nodes {
            node.stdin = None;
        }
        let deadline = Instant::now() + END;
        while self
            .nodes
            .iter_mut()
            .any(|node| matches!(node.child.try_wait(), Ok(None)))
            && Instant::now() < deadline
        {
            thread::sleep(LOOK);
        }
        self.nodes.clear();
        let _ = self
            .plan
            .queue
            .until(NOTICE, |state| Ok(state.consumers == 0));
    }
}

/// A consumer of its own. It ends when its standard input does, wherever it runs.
#[derive(Debug)]
struct Node {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
    container: Option<String>,
    // After the child: a group can be deleted only when it is empty.
    _share: Option<Share>,
}

impl Node {
    fn start(plan: Plan<'_>, dir: &Path, number: u32, workers: u32) -> Result<Self> {
        let name = format!("node-{number}");
        let place = Place {
            number,
            name: &name,
            cores: plan.cores,
        };
        let mut args = [
            "--node",
            &name,
            "--concurrency",
            &workers.to_string(),
            "--end-with-stdin",
        ]
        .map(str::to_owned)
        .to_vec();
        if let Some(prefetch) = plan.prefetch {
            args.push(format!("--prefetch={prefetch}"));
        }
        let mut ready = plan.launcher.consumer(plan.programs, place, &args)?;
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        own_settings(&mut ready.command, plan.spool);
        let mut child = ready
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .context("cannot start a consumer")?;
        let mut stdin = child.stdin.take();
        if let Some(stdin) = stdin.as_mut().filter(|_| ready.reads_address) {
            // One that has ended already is found by whoever waits for it.
            let _ = writeln!(stdin, "{}", plan.queue.address());
        }
        Ok(Self {
            name,
            child,
            stdin,
            log,
            container: ready.container,
            _share: ready.share,
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Its process is only the client of one: it would go on.
            if let Some(container) = &self.container {
                let _ = Command::new("docker")
                    .args(["rm", "--force", container])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

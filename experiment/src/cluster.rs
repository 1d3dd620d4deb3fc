//! The nodes of a measurement: consumers, one per node, that are started and ended together.

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
    launcher::{Launcher, NodeSpec},
    process::{Stop, cpu_s, last_lines, own_settings},
    queue::JobsQueue,
    share::Share,
};

/// Interval at which ending nodes are polled.
const LOOK: Duration = Duration::from_millis(20);

/// Time limit for nodes to join: a constant part, and a part for each node.
const JOIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(300));

/// Time limit for nodes to end after they are asked to.
const END: Duration = Duration::from_secs(40);

/// Time limit for the broker to notice that they have ended.
const NOTICE: Duration = Duration::from_secs(10);

/// How nodes are started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClusterOptions<'a> {
    pub launcher: &'a Launcher,
    /// Folder of `consumer` and `producer` on this machine.
    pub programs: &'a Path,
    pub queue: &'a JobsQueue,
    /// Cores that each node may use, if they are limited.
    pub cores: Option<f64>,
    /// Prefetch of each consumer; the consumer's default without it.
    pub prefetch: Option<u32>,
    /// Folder for metrics that cannot be sent yet.
    pub spool: &'a Path,
}

/// Nodes that take work from the broker. Dropping this kills them; see [`Cluster::end`].
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    options: ClusterOptions<'a>,
    nodes: Vec<Node>,
}

impl<'a> Cluster<'a> {
    /// Starts nodes with `workers` each and with logs in `dir`, and waits until all take work.
    ///
    /// # Errors
    /// The queue has other consumers; or a node cannot start, ends early or does not join in time.
    pub(crate) fn start(
        options: ClusterOptions<'a>,
        dir: &Path,
        nodes: u32,
        workers: u32,
        stop: &Stop,
    ) -> Result<Self> {
        options.queue.is_free()?;
        let mut cluster = Self {
            options,
            nodes: Vec::new(),
        };
        for number in 1..=nodes {
            cluster
                .nodes
                .push(Node::start(options, dir, number, workers)?);
        }
        let longest = JOIN.0 + JOIN.1 * nodes;
        let state = options.queue.until(longest, |state| {
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

    /// Fails if a node has ended, with the end of its log.
    pub(crate) fn live(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Some(status) = node.child.try_wait()? {
                bail!("{} ended ({status}): {}", node.name, last_lines(&node.log));
            }
        }
        Ok(())
    }

    /// CPU seconds of all nodes so far, if they are processes of this machine.
    pub(crate) fn cpu_s(&self) -> Option<f64> {
        if !self.options.launcher.is_process() {
            return None;
        }
        self.nodes.iter().map(|node| cpu_s(node.child.id())).sum()
    }

    /// Asks all nodes to end, waits until they have and the broker has noticed; kills slow ones.
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
            .options
            .queue
            .until(NOTICE, |state| Ok(state.consumers == 0));
    }
}

/// A consumer. It ends when its standard input does, on whatever machine it runs.
#[derive(Debug)]
struct Node {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
    container: Option<String>,
    // Dropped after the child: a group can be deleted only when it is empty.
    _share: Option<Share>,
}

impl Node {
    fn start(options: ClusterOptions<'_>, dir: &Path, number: u32, workers: u32) -> Result<Self> {
        let name = format!("node-{number}");
        let node = NodeSpec {
            number,
            name: &name,
            cores: options.cores,
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
        if let Some(prefetch) = options.prefetch {
            args.push(format!("--prefetch={prefetch}"));
        }
        let mut prepared = options.launcher.consumer(options.programs, node, &args)?;
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        own_settings(&mut prepared.command, options.spool);
        let mut child = prepared
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .context("cannot start a consumer")?;
        let mut stdin = child.stdin.take();
        if let Some(stdin) = stdin.as_mut().filter(|_| prepared.reads_address) {
            // If the consumer has ended already, `live` reports it.
            let _ = writeln!(stdin, "{}", options.queue.address());
        }
        Ok(Self {
            name,
            child,
            stdin,
            log,
            container: prepared.container,
            _share: prepared.share,
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // The child is only Docker's client: the container would go on.
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

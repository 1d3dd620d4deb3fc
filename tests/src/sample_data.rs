use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::Database;

/// Milliseconds since 1970, from when to when there is data.
pub type Span = (u64, u64);

/// Fills a database as healthy runs do: two nodes, one of which is started again in the middle; three runs of different sizes on
/// different numbers of workers and nodes; no job that fails, no management API of RabbitMQ.
///
/// To be replaced by real runs as soon as producer and consumer write to InfluxDB themselves. Needed are: two nodes, two runs
/// that differ in nodes and workers, all of one kind and size, and at least 40 s between the first point and the last.
pub fn fill(database: &Database<'_>) -> Span {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut data = Data::new(now - Duration::from_secs(900));
    data.nodes();
    data.queues();
    data.metrics();
    data.run("20261122-120000-aaaa", 1024, &[("n-1", 2)], 60..260);
    data.run(
        "20261122-120500-bbbb",
        1024,
        &[("n-1", 2), ("n-2", 2)],
        300..500,
    );
    data.run(
        "20261122-121000-cccc",
        512,
        &[("n-1", 2), ("n-2", 2)],
        600..800,
    );
    database.import(&data.lines);
    (data.ms(0.0), data.ms(900.0))
}

/// Adds what healthy runs do not write: jobs that did not end well, lost points, and what only RabbitMQ's management API knows.
pub fn fill_rarities(database: &Database<'_>, (from, to): Span) {
    let mut lines = String::new();
    let middle = (from + to) / 2;
    for i in 0..20 {
        let at = (middle + 500 * i) * 1_000_000;
        let outcome = if i % 2 == 0 { "failed" } else { "rejected" };
        let _ = writeln!(
            lines,
            "job,run=rare,node=n-1,kind=prime,bits=1024,outcome={outcome} jobs=1i,latency_ms=50.5,queue_wait_ms=30.25,compute_ms=20.25,candidates=1i,redelivered=1i {at}\n\
             queue,queue=primepool.jobs.prime ready=10i,consumers=2i,unacked=4i,publish_rate=20.5,deliver_rate=19.5 {at}\n\
             metrics,source=consumer,node=n-1 points_written=1000i,points_spooled=5i,points_dropped={i}i,points_refused={i}i,write_errors={i}i {at}",
        );
    }
    database.import(&lines);
}

/// Fills a database so that each alert rule has one reason to fire.
pub fn fill_trouble(database: &Database<'_>, (_, to): Span) {
    let mut lines = String::new();
    for second in 0..300 {
        let at = (to - 1000 * second) * 1_000_000;
        let outcome = if second % 10 == 0 { "failed" } else { "ok" };
        let _ = writeln!(
            lines,
            "queue,queue=primepool.jobs.prime ready={ready}i,consumers=0i {at}\n\
             queue,queue=primepool.jobs.next-prime ready=5i,consumers=1i {at}\n\
             queue,queue=primepool.jobs.safe-prime ready=0i,consumers=0i {at}\n\
             job,run=r,node=n-1,kind=prime,bits=1024,outcome={outcome} jobs=1i,latency_ms=50.5 {at}\n\
             node,node=n-1,kernel=gmp alive_s=10.5,workers=2i {at}\n\
             metrics,source=consumer,node=n-1 points_dropped={dropped}i,points_refused=0i {at}\n\
             metrics,source=consumer,node=n-2 points_dropped=7i,points_refused=7i {at}",
            ready = 400 - second,
            dropped = 300 - second,
        );
        // The other node stopped three minutes ago.
        if second > 180 {
            let _ = writeln!(
                lines,
                "node,node=n-2,kernel=gmp alive_s=10.5,workers=2i {at}"
            );
        }
    }
    database.import(&lines);
}

struct Data {
    start: Duration,
    lines: String,
    random: u64,
}

impl Data {
    fn new(start: Duration) -> Self {
        Self {
            start,
            lines: String::new(),
            random: 1,
        }
    }

    fn ms(&self, second: f64) -> u64 {
        (self.start + Duration::from_secs_f64(second))
            .as_millis()
            .try_into()
            .unwrap()
    }

    /// From 0 to 1, the same in each test run (Knuth's MMIX generator).
    fn random(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f64::from((self.random >> 32) as u32) / f64::from(u32::MAX)
    }

    fn add(&mut self, second: f64, line: &str) {
        // Times of one series must differ.
        let distinct = self.lines.len() as u64 % 1_000_000;
        let at = self.ms(second) * 1_000_000 + distinct;
        let _ = writeln!(self.lines, "{line} {at}");
    }

    fn nodes(&mut self) {
        for (node, kernel, restart) in [("n-1", "ifma", 1000), ("n-2", "gmp", 550)] {
            let (mut busy, mut alive, mut cpu) = (0.0, 0.0, 0.0);
            for second in (0..900).step_by(5) {
                if second == restart {
                    (busy, alive, cpu) = (0.0, 0.0, 0.0);
                }
                alive += 5.0;
                let part = 0.8 + 0.2 * self.random();
                busy += 10.0 * part;
                cpu += 9.7 * part;
                let efficiency = busy / (2.0 * alive);
                let pool = 97.0 * part;
                self.add(
                    f64::from(second),
                    &format!(
                        "node,node={node},kernel={kernel} workers=2i,busy_workers=2i,busy_s={busy},alive_s={alive},efficiency={efficiency},cores=2i,cpu_s={cpu},cpu_pct={cpu_pct},pool_cpu_pct={pool},mem_used_bytes=4000000000i,mem_pct=31.5,rss_bytes=15000000i,jobs_ok={ok}i,jobs_failed=0i,in_flight=4i",
                        cpu_pct = (pool + 2.0).min(100.0),
                        ok = (busy * 50.0) as u64,
                    ),
                );
            }
        }
    }

    fn queues(&mut self) {
        for second in 0..900 {
            let ready = (f64::from(second) / 60.0).sin().mul_add(400.0, 500.0) as u64;
            self.add(
                f64::from(second),
                &format!("queue,queue=primepool.jobs.prime ready={ready}i,consumers=2i"),
            );
        }
    }

    fn metrics(&mut self) {
        for second in (0..900).step_by(10) {
            for (source, node) in [
                ("consumer", "n-1"),
                ("consumer", "n-2"),
                ("producer", "p-1"),
            ] {
                self.add(
                    f64::from(second),
                    &format!(
                        "metrics,source={source},node={node} points_written={}i,points_spooled=0i,points_dropped=0i,points_refused=0i,write_errors=0i",
                        second * 3
                    ),
                );
            }
        }
    }

    fn run(&mut self, run: &str, bits: u32, nodes: &[(&str, u32)], seconds: std::ops::Range<u32>) {
        let workers: u32 = nodes.iter().map(|(_, workers)| workers).sum();
        let (begin, end) = (f64::from(seconds.start), f64::from(seconds.end));
        let tags = format!("run,run={run},kind=prime,bits={bits}");
        self.add(
            begin,
            &format!("{tags},event=start text=\"{run} starts\",jobs=1000i"),
        );
        let (mut second, mut jobs_ok) = (begin, 0);
        while second < end {
            second += 0.2 / f64::from(workers);
            let node = nodes[(self.random() * nodes.len() as f64) as usize % nodes.len()].0;
            let jobs = 1 + (self.random() * 8.0) as u64;
            let compute = 15.0 + 10.0 * self.random();
            let wait = 100.0 * self.random();
            let latency = wait + compute * jobs as f64;
            let candidates = jobs * 60;
            jobs_ok += jobs;
            self.add(
                second.min(end),
                &format!(
                    "job,run={run},node={node},kind=prime,bits={bits},outcome=ok jobs={jobs}i,latency_ms={latency},queue_wait_ms={wait},compute_ms={compute},candidates={candidates}i,redelivered=0i"
                ),
            );
        }
        self.add(
            end,
            &format!(
                "{tags},event=end,nodes={},workers={workers} text=\"{run} ends\",jobs=1000i,jobs_ok={jobs_ok}i,jobs_failed=0i,jobs_rejected=0i,elapsed_s={},jobs_per_s={},error_rate=0.0,efficiency=0.93,latency_p50_ms=80.5,latency_p95_ms=200.5,latency_p99_ms=400.5,pool_cpu_pct=93.5,cpu_pct=95.5,mem_pct=31.5,rss_bytes=15000000i",
                nodes.len(),
                end - begin,
                jobs_ok as f64 / (end - begin),
            ),
        );
    }
}

//! Injection of each kind of fault.

use std::{fs, time::Duration};

use super::{
    pool::{ChaosPool, HEARTBEAT_S},
    proxy::NetworkState,
    schedule::{Dice, Fault, Strike},
};

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Injects a fault; false if its victim is not available.
pub(super) fn strike(pool: &mut ChaosPool, strike: &Strike) -> bool {
    let mut dice = Dice::new(strike.seed);
    match strike.fault {
        Fault::ConsumerKill => consumer_kill(pool, &mut dice),
        Fault::ProducerKill => producer_kill(pool, &mut dice),
        Fault::BrokerKill => broker_kill(pool, &mut dice),
        Fault::Cluster => node_kill(pool, &mut dice),
        Fault::NetworkCut => network_cut(pool, &mut dice),
        Fault::NetworkDelay => network_delay(pool, &mut dice),
        Fault::ConsumerFreeze => consumer_freeze(pool, &mut dice),
        Fault::MemoryAlarm => memory_alarm(pool, &mut dice),
        Fault::DiskFull => disk_full(pool, &mut dice),
        Fault::InfluxGone => influx_gone(pool, &mut dice),
        Fault::ClockJump => clock_jump(pool, &mut dice),
    }
}

fn some_consumer(pool: &ChaosPool, dice: &mut Dice) -> usize {
    usize::try_from(dice.below(pool.consumers.len() as u64)).unwrap()
}

fn consumer_kill(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let n = some_consumer(pool, dice);
    let pause = ms(dice.below(2000));
    if pool.consumers[n].process.is_none() {
        return false;
    }
    pool.kill_consumer(n);
    pool.say(&format!("kill -9 of c{}, another one in {pause:?}", n + 1));
    pool.later(pause, move |pool| pool.start_consumer(n));
    true
}

fn producer_kill(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let pause = ms(dice.below(2000));
    if pool.producer_held || !pool.kill_producer() {
        return false;
    }
    pool.say(&format!("kill -9 of the producer, resumed in {pause:?}"));
    pool.producer_held = true;
    pool.later(pause, |pool| pool.producer_held = false);
    true
}

fn broker_kill(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let pause = ms(dice.between(100, 3000));
    if !pool.down.is_empty() {
        return false;
    }
    pool.say(&format!("kill -9 of the broker, started in {pause:?}"));
    pool.lose_nodes((1..=pool.servers.nodes()).collect(), pause);
    true
}

fn node_kill(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let node = u8::try_from(dice.between(1, u64::from(pool.servers.nodes()))).unwrap();
    let pause = ms(dice.between(1000, 6000));
    // Only one node at a time, so that two of three remain as a majority.
    if !pool.down.is_empty() {
        return false;
    }
    pool.say(&format!(
        "kill -9 of broker node {node}, started in {pause:?}"
    ));
    pool.lose_nodes(vec![node], pause);
    true
}

/// Changes the network of all processes, of the producer, or of one consumer.
fn change_network(pool: &mut ChaosPool, dice: &mut Dice, state: NetworkState, time: Duration) {
    let consumers = pool.consumers.len() as u64;
    let who = dice.below(consumers + 4);
    let victims: Vec<usize> = match who {
        0..=1 => (0..=pool.consumers.len()).collect(),
        2..=3 => vec![pool.consumers.len()],
        n => vec![usize::try_from(n - 4).unwrap()],
    };
    let names: Vec<_> = victims
        .iter()
        .map(|n| match pool.consumers.get(*n) {
            Some(consumer) => consumer.name.clone(),
            None => "the producer".to_owned(),
        })
        .collect();
    pool.say(&format!(
        "network of {}: {state:?} for {time:?}",
        names.join(", ")
    ));
    set_network(pool, &victims, state);
    pool.trouble(time + Duration::from_secs(15));
    pool.later(time, move |pool| {
        pool.say(&format!("network of {}: fair", names.join(", ")));
        set_network(pool, &victims, NetworkState::Fair);
    });
}

/// Numbers beyond those of the consumers stand for the producer.
fn set_network(pool: &ChaosPool, victims: &[usize], state: NetworkState) {
    for n in victims {
        let victim = pool.consumers.get(*n).unwrap_or(&pool.producer);
        victim.proxy.set(state);
    }
}

fn network_cut(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let (state, time) = match dice.below(3) {
        // Cut, and available again at once.
        0 => (NetworkState::Refuse, 20),
        1 => (NetworkState::Refuse, dice.between(500, 4000)),
        _ => (NetworkState::Stall, silence(dice)),
    };
    change_network(pool, dice, state, ms(time));
    true
}

/// Milliseconds of silence after which both peers have given up the connection.
fn silence(dice: &mut Dice) -> u64 {
    HEARTBEAT_S * 1000 * 5 / 2 + dice.below(2000)
}

fn network_delay(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let state = if dice.below(2) == 0 {
        NetworkState::Delay(ms(dice.between(20, 200)))
    } else {
        NetworkState::Trickle
    };
    let time = ms(dice.between(2000, 6000));
    change_network(pool, dice, state, time);
    true
}

fn consumer_freeze(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let n = some_consumer(pool, dice);
    let time = ms(silence(dice));
    let Some(process) = &pool.consumers[n].process else {
        return false;
    };
    process.signal("STOP");
    let pid = process.pid();
    pool.say(&format!("SIGSTOP of c{} for {time:?}", n + 1));
    pool.later(time, move |pool| {
        // Unless the process was killed in the meantime.
        let frozen = pool.consumers[n].process.as_ref();
        if let Some(process) = frozen.filter(|process| process.pid() == pid) {
            process.signal("CONT");
            pool.say(&format!("SIGCONT of c{}", n + 1));
        }
    });
    true
}

fn memory_alarm(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let time = ms(dice.between(1000, 5000));
    if !pool.down.is_empty() {
        return false;
    }
    pool.servers
        .ctl(&["set_vm_memory_high_watermark", "absolute", "4MB"]);
    pool.say(&format!("memory alarm for {time:?}"));
    pool.trouble(time + Duration::from_secs(15));
    pool.later(time, end_alarm);
    true
}

/// Waits while nodes are down: a restart also ends the alarm, and rabbitmqctl needs the nodes.
fn end_alarm(pool: &mut ChaosPool) {
    if !pool.down.is_empty() {
        pool.later(Duration::from_secs(1), end_alarm);
        return;
    }
    pool.servers.ctl(&["set_vm_memory_high_watermark", "0.3"]);
    pool.say("memory alarm over");
}

fn disk_full(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let time = ms(dice.between(1000, 4000));
    let Some(filler) = pool.disk.as_ref().map(|disk| disk.join("filler")) else {
        return false;
    };
    if filler.exists() {
        return false;
    }
    let mut zeros = std::io::repeat(0);
    let mut file = fs::File::create(&filler).unwrap();
    // Write until the disk is full.
    let _ = std::io::copy(&mut zeros, &mut file);
    pool.producer_held = true;
    pool.say(&format!("the disk is full for {time:?}"));
    pool.later(time, move |pool| {
        fs::remove_file(&filler).unwrap();
        pool.producer_held = false;
        pool.say("there is room on the disk");
    });
    true
}

fn influx_gone(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let time = ms(dice.between(1000, 6000));
    let Some(influx) = &pool.influx else {
        return false;
    };
    if pool.influx_down {
        return false;
    }
    influx.kill();
    pool.influx_down = true;
    pool.say(&format!("kill -9 of InfluxDB, started in {time:?}"));
    pool.later(time, |pool| {
        if let Some(influx) = &pool.influx {
            influx.start_again();
        }
        pool.influx_down = false;
        pool.say("InfluxDB is back");
    });
    true
}

fn clock_jump(pool: &mut ChaosPool, dice: &mut Dice) -> bool {
    let hours = dice.between(1, 12).cast_signed();
    let hours = if dice.below(2) == 0 { hours } else { -hours };
    let Some(clock) = &pool.clock else {
        return false;
    };
    // Atomic replacement: a partial file would mean another time.
    let next = clock.with_extension("next");
    fs::write(&next, format!("{:+}\n", hours * 3600)).unwrap();
    fs::rename(&next, clock).unwrap();
    pool.say(&format!("the clocks jump to {hours:+} h"));
    true
}

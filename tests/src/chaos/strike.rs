//! Injection of each kind of fault.

use std::{fs, time::Duration};

use super::{
    proxy::Weather,
    schedule::{Dice, Fault, Strike},
    site::{HEARTBEAT_S, Site},
};

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Injects a fault; false if its victim is not available.
pub(super) fn strike(site: &mut Site, strike: &Strike) -> bool {
    let mut dice = Dice::new(strike.seed);
    match strike.fault {
        Fault::ConsumerKill => consumer_kill(site, &mut dice),
        Fault::ProducerKill => producer_kill(site, &mut dice),
        Fault::BrokerKill => broker_kill(site, &mut dice),
        Fault::Cluster => node_kill(site, &mut dice),
        Fault::NetworkCut => network_cut(site, &mut dice),
        Fault::NetworkDelay => network_delay(site, &mut dice),
        Fault::ConsumerFreeze => consumer_freeze(site, &mut dice),
        Fault::MemoryAlarm => memory_alarm(site, &mut dice),
        Fault::DiskFull => disk_full(site, &mut dice),
        Fault::InfluxGone => influx_gone(site, &mut dice),
        Fault::ClockJump => clock_jump(site, &mut dice),
    }
}

fn some_consumer(site: &Site, dice: &mut Dice) -> usize {
    usize::try_from(dice.below(site.consumers.len() as u64)).unwrap()
}

fn consumer_kill(site: &mut Site, dice: &mut Dice) -> bool {
    let n = some_consumer(site, dice);
    let pause = ms(dice.below(2000));
    if site.consumers[n].process.is_none() {
        return false;
    }
    site.kill_consumer(n);
    site.say(&format!("kill -9 of c{}, another one in {pause:?}", n + 1));
    site.later(pause, move |site| site.start_consumer(n));
    true
}

fn producer_kill(site: &mut Site, dice: &mut Dice) -> bool {
    let pause = ms(dice.below(2000));
    if site.producer_held || !site.kill_producer() {
        return false;
    }
    site.say(&format!("kill -9 of the producer, resumed in {pause:?}"));
    site.producer_held = true;
    site.later(pause, |site| site.producer_held = false);
    true
}

fn broker_kill(site: &mut Site, dice: &mut Dice) -> bool {
    let pause = ms(dice.between(100, 3000));
    if !site.down.is_empty() {
        return false;
    }
    site.say(&format!("kill -9 of the broker, started in {pause:?}"));
    site.lose_nodes((1..=site.servers.nodes()).collect(), pause);
    true
}

fn node_kill(site: &mut Site, dice: &mut Dice) -> bool {
    let node = u8::try_from(dice.between(1, u64::from(site.servers.nodes()))).unwrap();
    let pause = ms(dice.between(1000, 6000));
    // Only one node at a time, so that two of three remain as a majority.
    if !site.down.is_empty() {
        return false;
    }
    site.say(&format!(
        "kill -9 of broker node {node}, started in {pause:?}"
    ));
    site.lose_nodes(vec![node], pause);
    true
}

/// Changes the network of all processes, of the producer, or of one consumer.
fn change_weather(site: &mut Site, dice: &mut Dice, weather: Weather, time: Duration) {
    let consumers = site.consumers.len() as u64;
    let who = dice.below(consumers + 4);
    let lanes: Vec<usize> = match who {
        0..=1 => (0..=site.consumers.len()).collect(),
        2..=3 => vec![site.consumers.len()],
        n => vec![usize::try_from(n - 4).unwrap()],
    };
    let names: Vec<_> = lanes
        .iter()
        .map(|lane| match site.consumers.get(*lane) {
            Some(lane) => lane.name.clone(),
            None => "the producer".to_owned(),
        })
        .collect();
    site.say(&format!(
        "network of {}: {weather:?} for {time:?}",
        names.join(", ")
    ));
    set(site, &lanes, weather);
    site.trouble(time + Duration::from_secs(15));
    site.later(time, move |site| {
        site.say(&format!("network of {}: fair", names.join(", ")));
        set(site, &lanes, Weather::Fair);
    });
}

fn set(site: &Site, lanes: &[usize], weather: Weather) {
    for lane in lanes {
        let lane = site.consumers.get(*lane).unwrap_or(&site.producer);
        lane.proxy.set(weather);
    }
}

fn network_cut(site: &mut Site, dice: &mut Dice) -> bool {
    let (weather, time) = match dice.below(3) {
        // Cut, and available again at once.
        0 => (Weather::Refuse, 20),
        1 => (Weather::Refuse, dice.between(500, 4000)),
        _ => (Weather::Stall, silence(dice)),
    };
    change_weather(site, dice, weather, ms(time));
    true
}

/// Milliseconds of silence after which both peers have given up the connection.
fn silence(dice: &mut Dice) -> u64 {
    HEARTBEAT_S * 1000 * 5 / 2 + dice.below(2000)
}

fn network_delay(site: &mut Site, dice: &mut Dice) -> bool {
    let weather = if dice.below(2) == 0 {
        Weather::Delay(ms(dice.between(20, 200)))
    } else {
        Weather::Trickle
    };
    let time = ms(dice.between(2000, 6000));
    change_weather(site, dice, weather, time);
    true
}

fn consumer_freeze(site: &mut Site, dice: &mut Dice) -> bool {
    let n = some_consumer(site, dice);
    let time = ms(silence(dice));
    let Some(process) = &site.consumers[n].process else {
        return false;
    };
    process.signal("STOP");
    let pid = process.pid();
    site.say(&format!("SIGSTOP of c{} for {time:?}", n + 1));
    site.later(time, move |site| {
        // Unless the process was killed in the meantime.
        let frozen = site.consumers[n].process.as_ref();
        if let Some(process) = frozen.filter(|process| process.pid() == pid) {
            process.signal("CONT");
            site.say(&format!("SIGCONT of c{}", n + 1));
        }
    });
    true
}

fn memory_alarm(site: &mut Site, dice: &mut Dice) -> bool {
    let time = ms(dice.between(1000, 5000));
    if !site.down.is_empty() {
        return false;
    }
    site.servers
        .ctl(&["set_vm_memory_high_watermark", "absolute", "4MB"]);
    site.say(&format!("memory alarm for {time:?}"));
    site.trouble(time + Duration::from_secs(15));
    site.later(time, end_alarm);
    true
}

/// Waits while nodes are down: a restart also ends the alarm, and rabbitmqctl needs the nodes.
fn end_alarm(site: &mut Site) {
    if !site.down.is_empty() {
        site.later(Duration::from_secs(1), end_alarm);
        return;
    }
    site.servers.ctl(&["set_vm_memory_high_watermark", "0.3"]);
    site.say("memory alarm over");
}

fn disk_full(site: &mut Site, dice: &mut Dice) -> bool {
    let time = ms(dice.between(1000, 4000));
    let Some(filler) = site.disk.as_ref().map(|disk| disk.join("filler")) else {
        return false;
    };
    if filler.exists() {
        return false;
    }
    let mut zeros = std::io::repeat(0);
    let mut file = fs::File::create(&filler).unwrap();
    // Write until the disk is full.
    let _ = std::io::copy(&mut zeros, &mut file);
    site.producer_held = true;
    site.say(&format!("the disk is full for {time:?}"));
    site.later(time, move |site| {
        fs::remove_file(&filler).unwrap();
        site.producer_held = false;
        site.say("there is room on the disk");
    });
    true
}

fn influx_gone(site: &mut Site, dice: &mut Dice) -> bool {
    let time = ms(dice.between(1000, 6000));
    let Some(influx) = &site.influx else {
        return false;
    };
    if site.influx_down {
        return false;
    }
    influx.kill();
    site.influx_down = true;
    site.say(&format!("kill -9 of InfluxDB, started in {time:?}"));
    site.later(time, |site| {
        if let Some(influx) = &site.influx {
            influx.start_again();
        }
        site.influx_down = false;
        site.say("InfluxDB is back");
    });
    true
}

fn clock_jump(site: &mut Site, dice: &mut Dice) -> bool {
    let hours = dice.between(1, 12).cast_signed();
    let hours = if dice.below(2) == 0 { hours } else { -hours };
    let Some(clock) = &site.clock else {
        return false;
    };
    // Atomic replacement: a partial file would mean another time.
    let next = clock.with_extension("next");
    fs::write(&next, format!("{:+}\n", hours * 3600)).unwrap();
    fs::rename(&next, clock).unwrap();
    site.say(&format!("the clocks jump to {hours:+} h"));
    true
}

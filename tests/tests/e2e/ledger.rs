//! When a consumer acknowledges a unit: its publishing side with a real broker, and a network that
//! delays the broker's confirms.

use std::{sync::Arc, thread};

use lapin::message::Delivery;
use primepool_common::{
    broker::{BrokerArgs, Endpoint, declare, declare_results},
    message::{RunId, UnitAnswer, VERSION},
    topology,
};
use primepool_consumer::{
    answers::{Answers, Outgoing},
    ledger::Ledger,
    node::Node,
    receipt::{ChannelDeliveries, Receipt},
};
use primepool_engine::Kernel;
use primepool_tests::{
    Broker,
    chaos::{NetworkState, Proxy},
    wait_for,
};
use tokio::{runtime, sync::mpsc};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::from_args(&BrokerArgs {
        amqp_url: url.to_owned(),
        amqp_url_file: None,
        tls_ca: None,
        tls_cert: None,
        tls_key: None,
        management_url: None,
    })
    .unwrap()
}

/// The publishing side of a consumer, and the results queue of a run.
struct LedgerFixture {
    broker: Broker,
    /// The proxy between the publishing side and the broker.
    proxy: Proxy,
    ledger: Ledger,
    run: RunId,
    queue: String,
}

impl LedgerFixture {
    /// The broker has the answer of a unit, but its publisher confirm is held back.
    fn with_unconfirmed_answer() -> (Self, Receipt) {
        let broker = Broker::vhost();
        let (_, address) = broker.url.rsplit_once('@').unwrap();
        let (host, _) = address.split_once('/').unwrap();
        let proxy = Proxy::new(host);
        let url = broker
            .url
            .replace(host, &format!("127.0.0.1:{}", proxy.port()));
        let run = RunId::generate().unwrap();
        let fixture = Self {
            queue: topology::results_queue(&run),
            ledger: Ledger::default(),
            broker,
            proxy,
            run,
        };
        fixture.make_queue();
        let node = Arc::new(Node::new("n1".to_owned(), 1, Kernel::fastest()));
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let answers = Answers::new(
            endpoint(&url),
            Arc::clone(&node),
            fixture.ledger.clone(),
            to_send,
        );
        // The thread runs until the test ends.
        thread::spawn(move || block_on(answers.run()));
        wait_for("the publishing side", || {
            let is_connected = node.publishing.load(std::sync::atomic::Ordering::Relaxed);
            is_connected.then_some(())
        });
        let first = fixture.deliver(true);
        fixture.proxy.set(NetworkState::Mute);
        outgoing
            .send(Outgoing::Answer(Box::new(fixture.answer())))
            .unwrap();
        wait_for("the answer", || (fixture.answers() == 1).then_some(()));
        assert!(
            first.is_usable(),
            "acknowledged before its answer was confirmed"
        );
        // The publishing side ends when all senders are gone and every answer is confirmed, which
        // is not yet so.
        drop(outgoing);
        (fixture, first)
    }

    fn make_queue(&self) {
        block_on(async {
            let connection = endpoint(&self.broker.url).connect("test").await.unwrap();
            declare(&connection).await.unwrap();
            declare_results(&connection, &self.run).await.unwrap();
        });
    }

    /// The broker loses the queue with the answer in it; the producer declares the queue again and
    /// republishes the unit.
    fn lose_the_answer(&self) -> Receipt {
        self.broker.delete_queue(&self.queue);
        self.make_queue();
        self.deliver(false)
    }

    fn deliver(&self, is_new: bool) -> Receipt {
        let delivery = Delivery::mock(1, "".into(), "".into(), false, vec![]);
        let receipt = ChannelDeliveries::default().receive(&delivery);
        let key = (self.run.clone(), 0);
        assert_eq!(self.ledger.enter(key, receipt.clone()), is_new);
        receipt
    }

    fn answer(&self) -> UnitAnswer {
        UnitAnswer {
            version: VERSION,
            run: self.run.clone(),
            unit: 0,
            published_ns: 0,
            redelivered: false,
            node: "n1".to_owned(),
            worker: 0,
            rejected: None,
            handed_back: None,
            samples: Vec::new(),
            first: 0,
            jobs: Vec::new(),
        }
    }

    fn answers(&self) -> u32 {
        self.broker.ready(&self.queue).unwrap()
    }

    /// Checks that both deliveries are acknowledged, and that there is one answer for the second.
    fn assert_answered(&self, first: &Receipt, second: &Receipt) {
        wait_for("the acknowledgements", || {
            (!first.is_usable() && !second.is_usable()).then_some(())
        });
        assert_eq!(self.answers(), 1);
        wait_for("an empty ledger", || self.ledger.is_empty().then_some(()));
    }
}

#[test]
fn the_confirmation_of_a_lost_answer_settles_nothing_that_came_later() {
    let (fixture, first) = LedgerFixture::with_unconfirmed_answer();
    let second = fixture.lose_the_answer();
    fixture.proxy.set(NetworkState::Fair);
    fixture.assert_answered(&first, &second);
}

#[test]
fn an_answer_that_is_sent_again_settles_what_has_come_by_then() {
    let (fixture, first) = LedgerFixture::with_unconfirmed_answer();
    let second = fixture.lose_the_answer();
    // The confirm never arrives: the answer is sent again on a new connection, which settles both
    // deliveries.
    fixture.proxy.cut();
    fixture.proxy.set(NetworkState::Fair);
    fixture.assert_answered(&first, &second);
}

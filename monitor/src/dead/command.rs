//! `primepool dead`: lists, shows, requeues and drops dead letters.

use std::sync::Arc;

use anyhow::anyhow;
use lapin::{
    Channel, Connection,
    message::BasicGetMessage,
    options::{BasicAckOptions, ConfirmSelectOptions},
};
use primepool_common::{
    broker::{
        BrokerError, ConfirmChannel, Endpoint, MANDATORY, Message, describing_properties,
        queue_state,
    },
    clock::unix_time,
    exit::Exit,
    jobs::JobKind,
    output::{OutputError, notice, print},
    topology::{DEAD_QUEUE, JOBS_EXCHANGE},
};

use super::{
    letter::DeadLetter,
    poll::MAX_READS,
    queue::{DeadQueue, look_at_letters},
    selection::{LetterSelection, SelectionError},
    text,
};
use crate::{Failure, cli::DeadCommand};

/// Name of the connection, shown in RabbitMQ's management interface.
const CONNECTION: &str = "primepool dead";

/// What to do with the selected letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LetterAction {
    Requeue,
    Drop,
}

/// Number of selected letters by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    done: u64,
    /// Letters left in the queue because this version cannot decode the unit: a consumer could not
    /// either.
    unreadable: u64,
}

#[derive(Debug, thiserror::Error)]
enum DeadError {
    #[error(
        "there is no queue {DEAD_QUEUE} in this virtual host: no consumer or producer has been here yet, \
         or --amqp-url names another virtual host than theirs"
    )]
    NoQueue,
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Selection(#[from] SelectionError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl From<lapin::Error> for DeadError {
    fn from(error: lapin::Error) -> Self {
        Self::Broker(error.into())
    }
}

impl From<DeadError> for Failure {
    fn from(error: DeadError) -> Self {
        let exit = match &error {
            DeadError::NoQueue | DeadError::Broker(_) => Exit::Unreachable,
            DeadError::Selection(_) => Exit::Usage,
            DeadError::Output(_) => Exit::Incomplete,
        };
        (exit, anyhow!(error))
    }
}

/// Runs `primepool dead`.
///
/// # Errors
/// The broker cannot be reached or refuses, an id names no letter or several, or standard output
/// cannot be written.
pub(crate) async fn run(endpoint: Endpoint, command: &DeadCommand) -> Result<Exit, Failure> {
    Ok(dead(&endpoint, command).await?)
}

async fn dead(endpoint: &Endpoint, command: &DeadCommand) -> Result<Exit, DeadError> {
    let connection = endpoint.connect(CONNECTION).await?;
    let letters = match queue_state(&connection, DEAD_QUEUE).await {
        Err(BrokerError::NotFound { .. }) => return Err(DeadError::NoQueue),
        state => state?.ready,
    };
    let exit = match command {
        DeadCommand::List { limit, json, .. } => {
            let most = if *limit == 0 { letters } else { *limit };
            let shown = look_at_letters(&connection, most as usize).await?;
            list(&shown, letters.into(), *json)?
        }
        DeadCommand::Show { id, json, .. } => {
            let selection = LetterSelection::Ids(vec![id.clone()]);
            let letter = find(&connection, &selection, letters).await?;
            let shown = match json {
                // Plain data: it always has a JSON form.
                true => serde_json::to_string_pretty(&letter).unwrap_or_default(),
                false => text::letter(&letter, unix_time().as_secs()),
            };
            print(shown.trim_end())?;
            Exit::Ok
        }
        DeadCommand::Requeue(chosen) => {
            let tally = settle_selected(
                &connection,
                &chosen.selection(),
                LetterAction::Requeue,
                letters,
            )
            .await?;
            conclude("requeued", tally)?
        }
        DeadCommand::Drop(chosen) => {
            let tally = settle_selected(
                &connection,
                &chosen.selection(),
                LetterAction::Drop,
                letters,
            )
            .await?;
            conclude("dropped", tally)?
        }
    };
    let _ = connection.close(200, "done".into()).await;
    Ok(exit)
}

fn list(shown: &[DeadLetter], letters: u64, json: bool) -> Result<Exit, OutputError> {
    if json {
        print(&serde_json::to_string_pretty(shown).unwrap_or_default())?;
    } else if shown.is_empty() {
        print("there is no dead letter")?;
    } else {
        print(text::list(shown, unix_time().as_secs()).trim_end())?;
        let more = letters.saturating_sub(shown.len() as u64);
        if more > 0 {
            print(&format!("… and {more} more: --limit 0 lists all"))?;
        }
    }
    if shown.iter().any(|letter| letter.looks >= MAX_READS) {
        notice(&format!(
            "a letter was looked at {MAX_READS} times or more. RabbitMQ 4 deletes it at 20 unless the queue \
             has the policy primepool-kept of infra/rabbitmq: set that, or requeue or drop the letter"
        ));
    }
    Ok(Exit::Ok)
}

/// Finds the letter that `selection` selects; it stays in the queue.
async fn find(
    connection: &Connection,
    selection: &LetterSelection,
    letters: u32,
) -> Result<DeadLetter, DeadError> {
    let shown = look_at_letters(connection, letters as usize).await?;
    let mut taken: Vec<_> = shown
        .into_iter()
        .filter(|letter| selection.selects(letter))
        .collect();
    selection.check(taken.iter())?;
    // Not empty: `check` has found a letter for each id.
    taken
        .pop()
        .ok_or_else(|| SelectionError::Unknown(String::new()).into())
}

/// Requeues or drops the selected letters among the first `letters` of the queue. The limit ends
/// the loop: a requeued unit may be dead-lettered again in the meantime.
async fn settle_selected(
    connection: &Connection,
    selection: &LetterSelection,
    action: LetterAction,
    letters: u32,
) -> Result<Tally, DeadError> {
    let publisher = connection.create_channel().await?;
    publisher
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let queue = DeadQueue::open(connection).await?;
    let (mut tally, mut named) = (Tally::default(), Vec::new());
    for _ in 0..letters {
        let Some(message) = queue.take().await? else {
            break;
        };
        let letter = DeadLetter::of(&message.delivery.properties, &message.delivery.data);
        if !selection.selects(&letter) {
            continue;
        }
        match selection {
            // Nothing is done before each id is known to match exactly one letter.
            LetterSelection::Ids(_) => named.push((letter, message)),
            LetterSelection::Run(_) | LetterSelection::All => {
                settle(&publisher, action, &letter, &message, &mut tally).await?;
            }
        }
    }
    selection.check(named.iter().map(|(letter, _)| letter))?;
    for (letter, message) in &named {
        settle(&publisher, action, letter, message, &mut tally).await?;
    }
    queue.put_back().await?;
    Ok(tally)
}

async fn settle(
    publisher: &Channel,
    action: LetterAction,
    letter: &DeadLetter,
    message: &BasicGetMessage,
    tally: &mut Tally,
) -> Result<(), DeadError> {
    if action == LetterAction::Requeue {
        let Some(unit) = &letter.unit else {
            tally.unreadable += 1;
            return Ok(());
        };
        let again = unit_again(unit.kind, message);
        publisher.send(again).await?;
    }
    let acker = &message.delivery.acker;
    acker.ack(BasicAckOptions::default()).await?;
    tally.done += 1;
    Ok(())
}

/// The unit as its producer published it, for the queue of its kind: without the headers that were
/// added on its way.
fn unit_again(kind: JobKind, message: &BasicGetMessage) -> Message {
    let old = &message.delivery.properties;
    let mut properties = describing_properties(old).with_delivery_mode(2);
    if let Some(app_id) = old.app_id() {
        properties = properties.with_app_id(app_id.clone());
    }
    if let Some(priority) = old.priority() {
        properties = properties.with_priority(*priority);
    }
    Message {
        exchange: JOBS_EXCHANGE,
        routing_key: kind.as_str().to_owned(),
        options: MANDATORY,
        properties,
        body: Arc::new(message.delivery.data.clone()),
    }
}

fn conclude(done: &str, tally: Tally) -> Result<Exit, OutputError> {
    print(&format!("{done} {}", text::letters(tally.done)))?;
    if tally.unreadable == 0 {
        return Ok(Exit::Ok);
    }
    notice(&format!(
        "{} left in primepool.dead: this version cannot read the unit, and a consumer would put it back. \
         `primepool dead show ID` says why; drop it, or requeue it with the version that wrote it",
        text::letters(tally.unreadable)
    ));
    Ok(Exit::Incomplete)
}

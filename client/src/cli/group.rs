//! `tercet group`.

use std::time::Duration;

use serde::Serialize;
use tercet_client::{Client, GroupChange, GroupSettings};

use super::{
    args::{Format, GroupCommand},
    exit::{Done, Exit},
    output,
};

mod progress;
mod settings;

use settings::Group;

#[derive(Serialize)]
struct Created {
    name: String,
    created: bool,
}

#[derive(Serialize)]
struct Deleted {
    name: String,
    dead_letters: &'static str,
    dead_letter_topic: String,
    refused_for_seconds: u64,
}

impl Deleted {
    fn sentence(&self, refused: Duration) -> String {
        let Deleted { name, dead_letter_topic, .. } = self;
        let letters = match self.dead_letters {
            "none" => String::new(),
            "kept" => format!("; its dead letters stay in topic {dead_letter_topic}"),
            _ => String::from(", with its dead letters"),
        };
        let refused = span(refused);
        format!(
            "group {name} deleted{letters}\nFor {refused} no consumer makes it anew by itself; `tercet group create \
             {name}` does, and it begins at the first message then."
        )
    }
}

/// In whole days or hours, if it is.
fn span(time: Duration) -> String {
    match (time.as_secs() / 3600, time.as_secs() % 3600) {
        (24, 0) => String::from("a day"),
        (hours, 0) if hours > 24 && hours % 24 == 0 => format!("{} days", hours / 24),
        (hours, 0) if hours > 1 => format!("{hours} hours"),
        _ => humantime::format_duration(time).to_string(),
    }
}

fn dead_letters(had_some: bool, deleted: bool) -> &'static str {
    match (had_some, deleted) {
        (false, _) => "none",
        (_, true) => "deleted",
        (_, false) => "kept",
    }
}

pub(super) async fn run(client: Client, command: GroupCommand, format: Format) -> Done {
    let admin = client.admin();
    match command {
        GroupCommand::Create { name, fifo, max_attempts, from } => {
            let settings = GroupSettings::new().fifo(fifo).start(from);
            let settings = max_attempts.map_or(settings, |attempts| settings.max_attempts(attempts.get()));
            let created = admin.create_group(&name, settings).await?;
            let sentence = if created { format!("group {name} made") } else { format!("group {name} exists already") };
            output::say(format, &sentence, &Created { name, created })?;
        }
        GroupCommand::Update { name, fifo, max_attempts, from } => {
            let change = fifo.map_or(GroupChange::new(), |fifo| GroupChange::new().fifo(fifo));
            let change = max_attempts.map_or(change, |attempts| change.max_attempts(attempts.get()));
            let change = from.map_or(change, |start| change.start(start));
            let group = Group::of(admin.update_group(&name, change).await?);
            let order = if group.fifo { "fifo" } else { "none" };
            let sentence =
                format!("group {name} changed: order {order}, {} attempts, from {}", group.max_attempts, group.from);
            output::say(format, &sentence, &group)?;
        }
        GroupCommand::Delete { name, with_dead_letters } => {
            let answer = admin.delete_group(&name, with_dead_letters).await?;
            let refused = answer.refused_for;
            let deleted = Deleted {
                dead_letters: dead_letters(answer.dead_letter_topic.is_some(), with_dead_letters),
                dead_letter_topic: answer.dead_letter_topic.unwrap_or_default(),
                refused_for_seconds: refused.as_secs(),
                name,
            };
            output::say(format, &deleted.sentence(refused), &deleted)?;
        }
        GroupCommand::List => {
            let groups: Vec<_> = admin.list_groups().await?.into_iter().map(Group::of).collect();
            let rows = groups.iter().map(|group| {
                let order = if group.fifo { "fifo" } else { "none" };
                [group.name.clone(), order.to_owned(), group.max_attempts.to_string(), group.from.clone()]
            });
            output::print(format, ["GROUP", "ORDER", "MAX ATTEMPTS", "FROM"], rows, &groups)?;
        }
        GroupCommand::Describe { name } => progress::describe(admin.describe_group(&name, None).await?, format)?,
        GroupCommand::Progress { name, topic } => {
            progress::by_queue(&admin.describe_group(&name, topic.as_deref()).await?, format)?;
        }
    }
    Ok(Exit::DONE)
}

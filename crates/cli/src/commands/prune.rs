//! `xbuild prune`: removes what the store has cached.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use xbuild_build::error::OpenError;
use xbuild_build::{Bound, Events};
use xbuild_store::{Item, Room, Store};
use xbuild_wording::{hints, quoted};

use super::du;
use crate::console::Console;
use crate::environment;
use crate::prompt;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;
use crate::values::bytes;
use crate::values::table_format::TableFormat;

/// The arguments of `xbuild prune`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --all, --filter and --max-used-space, prune keeps the bound that builds keep: a tenth of the \
disk, at most 20 GiB, or XBUILD_MAX_USED_SPACE. What was not used for longest goes first. What running \
builds use stays, and does not count.")]
pub(crate) struct PruneArgs {
    /// Remove everything, the images in the store too; installed emulators stay
    #[arg(short, long)]
    all: bool,
    /// Remove what was not used for that long: until=24h
    #[arg(long, value_name = "until=TIME")]
    filter: Vec<String>,
    /// Remove what was not used for longest until no more than SIZE is left (10g); 0 removes all but
    /// images
    #[arg(long, visible_alias = "keep-storage", value_name = "SIZE")]
    max_used_space: Option<String>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Format of the list of what is removed
    #[arg(long, value_enum, default_value = "table")]
    format: TableFormat,
    #[command(flatten)]
    store: StoreArgs,
}

/// What is removed.
enum Wanted {
    /// Everything.
    All,
    /// Everything but images.
    Cached,
    /// Some items.
    Some(Room),
}

impl PruneArgs {
    /// Returns what is said of the items.
    fn what(&self) -> &'static str {
        if self.dry_run { "would remove" } else { "removed" }
    }
}

/// Removes what the arguments say.
pub(crate) fn run(args: &PruneArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let wanted = wanted(args, machine.bound, machine.store_root()?)?;
    let Some(store) =
        xbuild_build::existing_store(&machine, &(Arc::clone(console) as Arc<dyn Events>))?
    else {
        return report(args, console, &[], 0);
    };
    let chosen = match &wanted {
        Wanted::Some(room) => room.choose(store.items().map_err(OpenError::from)?),
        Wanted::All | Wanted::Cached => {
            let mut items = store.items().map_err(OpenError::from)?;
            items.retain(|item| !item.is_pinned);
            items
        }
    };
    let bytes: u64 = match wanted {
        Wanted::All => all_bytes(&store),
        _ => chosen.iter().map(|item| item.bytes).sum(),
    };
    if args.dry_run {
        return report(args, console, &chosen, bytes);
    }
    if bytes > 0 && !args.force && !asked(bytes, &wanted)? {
        return console.result(b"nothing was removed\n");
    }
    let before = all_bytes(&store);
    let removed = match wanted {
        Wanted::Some(room) => xbuild_build::make_room(&machine, &store, room)?,
        Wanted::All | Wanted::Cached => {
            let leftovers = store.prune(matches!(wanted, Wanted::All)).map_err(OpenError::from)?;
            xbuild_build::remove_leftovers(&machine, &leftovers)?;
            chosen
        }
    };
    report(args, console, &removed, before.saturating_sub(all_bytes(&store)))
}

fn all_bytes(store: &Store) -> u64 {
    store.usage().iter().map(|usage| usage.bytes).sum()
}

fn wanted(args: &PruneArgs, bound: Bound, root: &Path) -> Result<Wanted, Problem> {
    let mut room = Room { max_bytes: None, unused_since: None };
    for filter in &args.filter {
        let fail = || {
            Problem::command_line(format!(
                "invalid --filter {filter}: expected until=TIME",
                filter = quoted(&filter)
            ))
            .with_hint(hints::form_of_until())
        };
        let text = filter.strip_prefix("until=").ok_or_else(fail)?;
        let age = humantime::parse_duration(text).map_err(|_| fail())?;
        room.unused_since = SystemTime::now().checked_sub(age).max(room.unused_since);
    }
    if let Some(text) = &args.max_used_space {
        let bytes = bytes::parse_or_zero(text).ok_or_else(|| {
            Problem::command_line(format!(
                "invalid --max-used-space {text}: expected a number with b, k, m or g",
                text = quoted(&text)
            ))
        })?;
        room.max_bytes = Some(bytes);
    }
    Ok(match (args.all, room) {
        (true, Room { max_bytes: None, unused_since: None }) => Wanted::All,
        (true, _) => {
            return Err(Problem::command_line(
                "--all removes everything: --filter and --max-used-space cannot be given with it",
            ));
        }
        (false, Room { max_bytes: Some(0), unused_since: None }) => Wanted::Cached,
        (false, Room { max_bytes: None, unused_since: None }) => {
            Wanted::Some(Room { max_bytes: bound.bytes(root), unused_since: None })
        }
        (false, room) => Wanted::Some(room),
    })
}

/// Asks on a terminal whether so much may be removed. Elsewhere nobody can answer, and the options say
/// what is wanted.
fn asked(bytes: u64, wanted: &Wanted) -> Result<bool, Problem> {
    if !prompt::can_ask() {
        return Ok(true);
    }
    let what = match wanted {
        Wanted::All => "everything, the images too",
        Wanted::Cached => "everything but images",
        Wanted::Some(_) => "what was not used for longest",
    };
    let answer = prompt::line(&format!("remove {what}, {}? [y/N] ", du::size(bytes)))
        .map_err(|error| Problem::input(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn report(args: &PruneArgs, console: &Console, items: &[Item], bytes: u64) -> Result<(), Problem> {
    let text = match args.format {
        TableFormat::Json => {
            let items: Vec<_> = items.iter().map(du::record).collect();
            let name = if args.dry_run { "wouldRemove" } else { "removed" };
            format!("{:#}\n", json!({ "bytes": bytes, name: items }))
        }
        TableFormat::Table => {
            let lines = items.iter().filter(|_| args.dry_run).map(|item| {
                let (bytes, kind) = (du::size(item.bytes), item.kind.name());
                format!(
                    "{bytes:>10}  {kind:<14}  {}\n",
                    printable(&xbuild_model::short_label(&item.name))
                )
            });
            lines.collect::<String>() + &format!("{} {}\n", args.what(), du::size(bytes))
        }
    };
    console.result(text.as_bytes())
}

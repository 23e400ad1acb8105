//! `xbuild config`: what the configuration file and the environment say, and changes of the file.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, Subcommand};
use serde_json::{Value, json};
use xbuild_wording::{hints, quoted};

use crate::columns;
use crate::config::{self, FileDefault, Given, Place, Refusal, Setting, Settings};
use crate::console::Console;
use crate::environment;
use crate::report::{Problem, printable};
use crate::values::table_format::TableFormat;

/// The arguments of `xbuild config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

/// An action on the configuration.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show what the file and the environment set; with a command, each of its options and where its value
    /// comes from
    List {
        /// The format of the list
        #[arg(long, value_enum, default_value = "table")]
        format: TableFormat,
        /// A command with all its arguments, such as `build --no-cache .`
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<OsString>,
    },
    /// Print the path of the file, which need not exist
    Path,
    /// Print what holds for an option without the command line, such as build.platform
    Get {
        /// COMMAND.OPTION, or OPTION for all commands
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Write an option's default into the file
    Set {
        /// COMMAND.OPTION, or OPTION for all commands, or registry."HOST".OPTION
        #[arg(value_name = "KEY")]
        key: String,
        /// The value; the values of a list
        #[arg(value_name = "VALUE", required = true, allow_hyphen_values = true)]
        values: Vec<String>,
    },
    /// Remove an option's default from the file
    Unset {
        /// COMMAND.OPTION, or OPTION for all commands
        #[arg(value_name = "KEY")]
        key: String,
    },
}

/// A value that is in force.
struct Row {
    key: String,
    values: Vec<String>,
    from: String,
}

/// Shows or changes the configuration. `definition` is that of the command line.
pub(crate) fn run(
    args: &ConfigArgs,
    definition: Command,
    settings: &mut Settings,
    console: &Console,
) -> Result<(), Problem> {
    let list = Action::List { format: TableFormat::Table, line: Vec::new() };
    match args.action.as_ref().unwrap_or(&list) {
        Action::Path => {
            let path = path(settings)?.display().to_string();
            console.result(format!("{path}\n").as_bytes())
        }
        Action::List { format, line } => {
            whole(&definition, settings)?;
            let rows = match line.is_empty() {
                true => rows(settings, &definition),
                false => rows_of_line(definition, line, settings)?,
            };
            console.result(listed(&rows, *format, settings).as_bytes())
        }
        Action::Get { key } => {
            whole(&definition, settings)?;
            let values = value(&definition, &key_of(key)?, settings)?;
            let values: String = values.iter().map(|value| format!("{value}\n")).collect();
            console.result(values.as_bytes())
        }
        Action::Set { key, values } => {
            let key = key_of(key)?;
            let value = match config::place(&definition, &key)? {
                Place::Registry => config::registry_value(&key, values)?,
                place => config::value_of(&given(&definition, (&key, &place), values)?),
            };
            config::set(path(settings)?, &key, value)
        }
        Action::Unset { key } => match config::unset(path(settings)?, &key_of(key)?)? {
            true => Ok(()),
            false => Err(Problem::input(format!("the file does not set {key}"))),
        },
    }
}

fn path(settings: &Settings) -> Result<&Path, Problem> {
    settings.path.as_deref().ok_or_else(|| {
        Problem::input("there is no home folder for a configuration file")
            .with_hint(hints::config_elsewhere())
    })
}

/// Returns the parts of a key as it is typed, with quotes as in the file.
fn key_of(text: &str) -> Result<Vec<String>, Problem> {
    let parts = toml_edit::Key::parse(text);
    let parts =
        parts.map_err(|_| Problem::command_line(format!("invalid key {}", quoted(text))))?;
    Ok(parts.iter().map(|part| part.get().to_owned()).collect())
}

/// Checks all keys and values of the file.
fn whole(definition: &Command, settings: &mut Settings) -> Result<(), Problem> {
    if let Some(fault) = settings.fault.take() {
        return Err(fault);
    }
    for setting in &settings.list {
        check(definition, setting)
            .map_err(|problem| problem.in_file(&settings.at(setting.line)))?;
    }
    Ok(())
}

/// Checks a key and its value.
fn check(definition: &Command, setting: &Setting) -> Result<(), Problem> {
    match config::place(definition, &setting.key)? {
        Place::Option(arg) | Place::Every(arg) => config::checked(arg, setting).map(drop),
        Place::Store => environment::check_bound(setting.value.texts()),
        // Headers are a table, whose names are theirs.
        Place::Registry if setting.key.get(2).is_some_and(|option| option == "headers") => Ok(()),
        Place::Registry => config::registry_value(&setting.key, setting.value.texts()).map(drop),
    }
}

/// Returns the value that `xbuild config set` writes for an option.
fn given(
    definition: &Command,
    (key, place): (&[String], &Place<'_>),
    values: &[String],
) -> Result<Given, Problem> {
    let is_list = match place {
        Place::Option(arg) | Place::Every(arg) => matches!(arg.get_action(), ArgAction::Append),
        Place::Store | Place::Registry => false,
    };
    let value = match values {
        [value] if !is_list => Given::One(value.clone()),
        values if is_list => Given::List(values.to_vec()),
        _ => return Err(Problem::command_line("the option takes one value")),
    };
    let setting = Setting { key: key.to_vec(), value, line: 0 };
    check(definition, &setting)?;
    Ok(setting.value)
}

/// Returns what the file sets, and what the environment sets.
fn rows(settings: &Settings, definition: &Command) -> Vec<Row> {
    let mut rows = Vec::new();
    for setting in &settings.list {
        let over = match config::place(definition, &setting.key) {
            Ok(Place::Option(arg) | Place::Every(arg)) => variable(arg),
            Ok(Place::Store) => Some(environment::BOUND.to_owned())
                .filter(|name| environment::variable(name).is_some()),
            _ => None,
        };
        let at = settings.at(setting.line);
        let from = match over {
            Some(name) => format!("{at}, without effect: {name} is set"),
            None => at,
        };
        let key = config::name_of(&setting.key);
        rows.push(Row { key, values: setting.value.texts().to_vec(), from });
    }
    let mut names: Vec<String> = Vec::new();
    variables(definition, &mut names);
    names.push(environment::BOUND.to_owned());
    for name in names {
        if let Some(value) = environment::variable(&name) {
            rows.push(Row { key: name, values: vec![value], from: "environment".to_owned() });
        }
    }
    rows
}

/// Returns the variable of an option, if it is set.
fn variable(arg: &Arg) -> Option<String> {
    let name = arg.get_env()?.to_str()?;
    environment::variable(name).map(|_| name.to_owned())
}

/// Adds the variables of the options of a command and of those below it.
fn variables(command: &Command, names: &mut Vec<String>) {
    let own = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str());
    for name in own {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    command.get_subcommands().for_each(|command| variables(command, names));
}

/// Returns each option that has a value in a command line.
fn rows_of_line(
    definition: Command,
    line: &[OsString],
    settings: &Settings,
) -> Result<Vec<Row>, Problem> {
    let args: Vec<OsString> =
        std::iter::once("xbuild".into()).chain(line.iter().cloned()).collect();
    let known = definition.clone();
    let line = config::read(definition, &args, settings).map_err(|refusal| {
        let error = match refusal {
            Refusal::Variable(problem) => return problem,
            Refusal::Line(error) => error,
        };
        let text = error.to_string();
        // What is missing stands in lines of its own.
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        let first = lines.collect::<Vec<_>>().join(" ");
        Problem::command_line(first.strip_prefix("error: ").unwrap_or(&first))
    })?;
    let (mut command, mut matches) = (&known, &line.matches);
    for name in &line.names {
        let below = command.find_subcommand(name).zip(matches.subcommand_matches(name));
        let Some(below) = below else { break };
        (command, matches) = below;
    }
    let globals = known.get_arguments().filter(|arg| arg.is_global_set());
    let options = command.get_arguments().chain(globals).filter(|arg| arg.get_long().is_some());
    let rows = options.filter_map(|arg| {
        let id = arg.get_id().as_str();
        let from = match matches.value_source(id)? {
            ValueSource::CommandLine => "command line".to_owned(),
            ValueSource::EnvVariable => arg.get_env()?.to_string_lossy().into_owned(),
            _ => match line.defaults.iter().find(|default| default.id == id) {
                Some(FileDefault { line, .. }) => settings.at(*line),
                None => "built in".to_owned(),
            },
        };
        let values = matches.get_raw(id)?.map(|value| value.to_string_lossy().into_owned());
        Some(Row { key: arg.get_long()?.to_owned(), values: values.collect(), from })
    });
    Ok(rows.collect())
}

/// Returns the value of a key without a command line.
fn value(
    definition: &Command,
    key: &[String],
    settings: &Settings,
) -> Result<Vec<String>, Problem> {
    let name = config::name_of(key);
    let in_file = |key: &[String]| settings.list.iter().find(|setting| setting.key == key);
    let in_file = |key: &[String]| in_file(key).map(|setting| setting.value.texts().to_vec());
    let values = match config::place(definition, key)? {
        Place::Option(arg) | Place::Every(arg) => {
            let in_environment = || variable(arg).and_then(|name| environment::variable(&name));
            let everywhere = || in_file(&key[key.len() - 1..]);
            let built_in = || {
                let values = arg.get_default_values().iter();
                let values = values.map(|value| value.to_string_lossy().into_owned());
                Some(values.collect::<Vec<_>>()).filter(|values| !values.is_empty())
            };
            let values = in_environment().map(|value| vec![value]);
            values.or_else(|| in_file(key)).or_else(everywhere).or_else(built_in)
        }
        Place::Store => environment::variable(environment::BOUND)
            .map(|value| vec![value])
            .or_else(|| in_file(key)),
        Place::Registry => in_file(key),
    };
    values.ok_or_else(|| Problem::input(format!("{name} has no value")))
}

fn listed(rows: &[Row], format: TableFormat, settings: &Settings) -> String {
    if format == TableFormat::Json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "key": row.key, "values": row.values, "from": row.from }))
            .collect();
        let file = settings.path.as_ref().map(|path| path.display().to_string());
        return format!("{:#}\n", json!({ "file": file, "values": rows }));
    }
    let cells = |row: &Row| [row.key.clone(), row.values.join(" "), row.from.clone()];
    let head = ["KEY", "VALUE", "FROM"].map(str::to_owned);
    let rows: Vec<[String; 3]> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let rows: Vec<[String; 3]> =
        rows.into_iter().map(|row| row.map(|cell| printable(&cell))).collect();
    let width = |column: usize| rows.iter().map(|row| columns::width(&row[column])).max();
    let widths = [width(0).unwrap_or(0), width(1).unwrap_or(0).min(60)];
    let pad = |cell: &str, width: usize| " ".repeat(width.saturating_sub(columns::width(cell)));
    let line = |[key, value, from]: &[String; 3]| {
        let (first, second) = (pad(key, widths[0]), pad(value, widths[1]));
        format!("{key}{first}  {value}{second}  {from}\n")
    };
    rows.iter().map(line).collect()
}

//! `xbuild`: builds container images for many platforms from one Dockerfile.
//!
//! This package reads arguments and environment, and shows progress, results and errors;
//! `xbuild_build` has the stages of a build. `docs/architecture.md` follows a build through them.

mod arguments;
mod build_options;
mod check_report;
mod columns;
mod commands;
mod completion;
mod config;
mod console;
mod ending;
mod environment;
mod examples;
mod farewell;
mod foreign;
mod go_template;
mod guises;
mod log;
mod outline_report;
mod paint;
mod platform_args;
mod progress;
mod prompt;
mod rawjson;
mod reasons;
mod registry_args;
mod report;
mod result;
mod screen;
mod shells;
mod store_args;
mod switches;
mod terminal;
mod traces;
mod values;

use std::process::ExitCode;
use std::sync::Arc;

use arguments::Command;
use commands::{
    bake, build, cache, check, compose_build, config as config_command, copy, doctor, du,
    emulators, images, imagetools, index, inspect, load, lock, login, man, manifest, platforms,
    prune, pull, push, rmi, run as run_command, save, tag, verify,
};
use config::Settings;
use console::{Console, ProgressMode};
use guises::Meant;
use report::Problem;

fn main() -> ExitCode {
    // The helper processes have the same limits.
    if let Err(error) = xbuild_exec::raise_limits() {
        return Console::new(ProgressMode::Plain).problem(&Problem::stack(error));
    }
    // This comes before all else: the helper processes are this program, started again.
    if let Some(status) = xbuild_exec::role(&xbuild_build::tasks()) {
        return status;
    }
    // What xbuild makes is for xbuild to use: no umask takes that from it.
    xbuild_exec::keep_own_rights();
    xbuild_exec::end_by_signals(screen::write_last_words, farewell::ring);
    xbuild_exec::adopt_orphans();
    let status = run();
    farewell::stay_if_ending();
    xbuild_exec::wait_for_orphans();
    status
}

fn run() -> ExitCode {
    if let Some(shell) = environment::variable(completion::VARIABLE) {
        let args: Vec<_> = std::env::args_os().collect();
        let console = Console::new(ProgressMode::Quiet);
        let answer = completion::answer(&shell, &args, arguments::definition());
        return match answer.and_then(|answer| console.result(&answer)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => console.problem(&problem),
        };
    }
    let is_named = environment::variable("XBUILD_CONFIG").is_some();
    let mut settings = Settings::read(environment::config_file(), is_named);
    let read = guises::meaning(std::env::args_os().collect()).and_then(|meant| match meant {
        Meant::Line(args) => arguments::read(args, &mut settings).map(Some),
        Meant::Text(text) => {
            let shown = Console::new(ProgressMode::Plain).result(text.as_bytes());
            shown.map(|()| None)
        }
    });
    let arguments = match read {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => return Console::new(ProgressMode::Plain).problem(&problem),
    };
    let console = Arc::new(Console::new(arguments.command.progress()));
    let filter = environment::variable("XBUILD_LOG");
    let started = log::start(filter.as_deref(), arguments.globals.debug, &console);
    if let Some(bound) = settings.value(&["store", "max-used-space"]) {
        environment::set_default_bound(&bound.value.texts().concat());
    }
    match started.and_then(|()| carry_out(&arguments.command, &mut settings, &console)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => console.problem(&problem.with_origins(&arguments.origins)),
    }
}

fn carry_out(
    command: &Command,
    settings: &mut Settings,
    console: &Arc<Console>,
) -> Result<(), Problem> {
    match command {
        Command::Build(args) => build::run(args, console),
        Command::Lock(args) => lock::run(args, console),
        Command::Verify(args) => verify::run(args, console),
        Command::Bake(args) => bake::run(args, console),
        Command::ComposeBuild(args) => compose_build::run(args, console),
        Command::Check(args) => check::run(args, console),
        Command::Run(args) => run_command::run(args, console),
        Command::Doctor(args) => doctor::run(args, console),
        Command::Platforms(args) => platforms::run(args, console),
        Command::Emulators(args) => emulators::run(args, console),
        Command::Inspect(args) => inspect::run(args, console),
        Command::Images(args) => images::run(args, console),
        Command::Tag(args) => tag::run(args, console),
        Command::Rmi(args) => rmi::run(args, console),
        Command::Index(args) => index::run(args, console),
        Command::Imagetools(args) => imagetools::run(args, console),
        Command::Manifest(args) => manifest::run(args, console),
        Command::Pull(args) => pull::run(args, console),
        Command::Push(args) => push::run(args, console),
        Command::Save(args) => save::run(args, console),
        Command::Load(args) => load::run(args, console),
        Command::Copy(args) => copy::run(args, console),
        Command::Login(args) => login::login(args, console),
        Command::Logout(args) => login::logout(args, console),
        Command::Cache(args) => cache::run(args, console),
        Command::Du(args) => du::run(args, console),
        Command::Prune(args) => prune::run(args, console),
        Command::Config(args) => {
            config_command::run(args, arguments::definition(), settings, console)
        }
        Command::Version => console.result(arguments::definition().render_version().as_bytes()),
        Command::Completions { shell } => console.result(&completion::script(&shell.to_string())?),
        Command::Man(args) => man::run(args, arguments::definition()),
    }
}

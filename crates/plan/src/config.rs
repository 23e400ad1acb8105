//! Instructions that change the configuration and no file.

use serde_json::{Map, Value};
use xbuild_dockerfile::{
    Arg, Cmd, Command, Entrypoint, Env, Expose, Healthcheck, HealthcheckKind, Keyword, Label, Pair,
    Shell, Span, StopSignal, User, Volume, parse_ports,
};
use xbuild_model::image;

use crate::arguments::{self, Given};
use crate::error::{PlanError, PlanErrorKind};
use crate::history;
use crate::signal;
use crate::state::State;
use crate::variables::{Expander, Variables};

/// The place of an instruction, and the values that it is read with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) escape: char,
    pub(crate) span: &'a Span,
    pub(crate) globals: &'a Variables,
    pub(crate) given: &'a Given<'a>,
}

impl Place<'_> {
    /// Returns the expander for variables of `state` in an instruction that stands here.
    pub(crate) fn expander<'b>(&'b self, state: &'b State) -> Expander<'b> {
        Expander { variables: &state.variables, escape: self.escape, span: self.span }
    }

    fn error(&self, kind: PlanErrorKind) -> PlanError {
        PlanError::new(kind, self.span)
    }

    /// Expands names and values; a name must not be empty.
    fn pairs(
        &self,
        state: &State,
        keyword: Keyword,
        pairs: &[Pair],
    ) -> Result<Vec<(String, String)>, PlanError> {
        let expander = self.expander(state);
        let expand = |pair: &Pair| {
            let name = expander.word(&pair.key)?;
            if name.is_empty() {
                let written = pair.key.clone();
                return Err(self.error(PlanErrorKind::EmptyName { keyword, written }));
            }
            Ok((name, expander.word(&pair.value)?))
        };
        pairs.iter().map(expand).collect()
    }
}

/// ARG: its own value, else that of the global ARG of this name, else none. A value hides an ENV of
/// this name from the following instructions, not in the image.
pub(crate) fn arg(state: &mut State, place: Place<'_>, arg: &Arg) -> Result<(), PlanError> {
    let mut text = "ARG".to_owned();
    for declaration in &arg.declarations {
        let name = &declaration.name;
        let own = arguments::own_value(declaration, place.given, &place.expander(state))?;
        text.extend([" ", name]);
        if let Some(value) = &own {
            text.extend(["=", value]);
        }
        let value = own.as_deref().or_else(|| place.globals.get(name));
        if let Some(value) = value {
            state.variables.set_checked(name, value, place.span)?;
        }
        state.arguments.add(name);
    }
    state.history.push(history::empty(text));
    Ok(())
}

/// ENV.
pub(crate) fn env(state: &mut State, place: Place<'_>, env: &Env) -> Result<(), PlanError> {
    let pairs = place.pairs(state, Keyword::Env, &env.pairs)?;
    for (name, value) in &pairs {
        state.variables.set_checked(name, value, place.span)?;
        state.env.set(name, value);
    }
    state.history.push(history::empty(history::pairs("ENV", &pairs)));
    Ok(())
}

/// LABEL.
pub(crate) fn label(state: &mut State, place: Place<'_>, label: &Label) -> Result<(), PlanError> {
    let pairs = place.pairs(state, Keyword::Label, &label.pairs)?;
    state.history.push(history::empty(history::pairs("LABEL", &pairs)));
    state.config.config.labels.extend(pairs);
    Ok(())
}

/// USER.
pub(crate) fn user(state: &mut State, place: Place<'_>, user: &User) -> Result<(), PlanError> {
    let user = place.expander(state).word(&user.user)?;
    state.history.push(history::empty(format!("USER {user}")));
    state.config.config.user = user;
    Ok(())
}

/// CMD.
pub(crate) fn cmd(state: &mut State, cmd: &Cmd) {
    let argv = state.argv(&cmd.command);
    state.history.push(history::empty(history::quoted("CMD", &argv)));
    state.config.config.cmd = Some(argv).filter(|argv| !argv.is_empty());
    state.own_cmd = true;
}

/// ENTRYPOINT: drops a CMD of the base image, which was made for the base's entrypoint.
pub(crate) fn entrypoint(state: &mut State, entrypoint: &Entrypoint) {
    let argv = state.argv(&entrypoint.command);
    state.history.push(history::empty(history::quoted("ENTRYPOINT", &argv)));
    state.config.config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
    if !state.own_cmd {
        state.config.config.cmd = None;
    }
}

/// EXPOSE.
pub(crate) fn expose(
    state: &mut State,
    place: Place<'_>,
    expose: &Expose,
) -> Result<(), PlanError> {
    let mut ports = Vec::new();
    for written in &expose.ports {
        for word in place.expander(state).words(written)? {
            ports.extend(parse_ports(&word).map_err(|error| place.error(error.into()))?);
        }
    }
    state.history.push(history::empty(history::list("EXPOSE", &ports)));
    let empty = || Value::Object(Map::new());
    state.config.config.exposed_ports.extend(ports.into_iter().map(|port| (port, empty())));
    Ok(())
}

/// VOLUME: paths stay as written.
pub(crate) fn volume(
    state: &mut State,
    place: Place<'_>,
    volume: &Volume,
) -> Result<(), PlanError> {
    let expander = place.expander(state);
    let expand = |written: &String| {
        let path = expander.word(written)?;
        if path.is_empty() {
            let (keyword, written) = (Keyword::Volume, written.clone());
            return Err(place.error(PlanErrorKind::EmptyPath { keyword, written }));
        }
        Ok(path)
    };
    let paths: Vec<String> = volume.paths.iter().map(expand).collect::<Result<_, _>>()?;
    state.history.push(history::empty(history::list("VOLUME", &paths)));
    let empty = || Value::Object(Map::new());
    state.config.config.volumes.extend(paths.into_iter().map(|path| (path, empty())));
    Ok(())
}

/// SHELL.
pub(crate) fn shell(state: &mut State, shell: &Shell) {
    state.history.push(history::empty(history::list("SHELL", &shell.arguments)));
    state.config.config.shell = Some(shell.arguments.clone());
}

/// STOPSIGNAL.
pub(crate) fn stop_signal(
    state: &mut State,
    place: Place<'_>,
    stop: &StopSignal,
) -> Result<(), PlanError> {
    let signal = place.expander(state).word(&stop.signal)?;
    if !signal::is_valid(&signal) {
        return Err(place.error(PlanErrorKind::BadSignal { signal }));
    }
    state.history.push(history::empty(format!("STOPSIGNAL {signal}")));
    state.config.config.stop_signal = Some(signal);
    Ok(())
}

/// HEALTHCHECK: replaces an earlier one as a whole.
pub(crate) fn healthcheck(state: &mut State, healthcheck: &Healthcheck) {
    // An i64 of nanoseconds holds 292 years.
    let nanoseconds = |value: Option<u64>| i64::try_from(value.unwrap_or(0)).unwrap_or(i64::MAX);
    let check = match &healthcheck.check {
        HealthcheckKind::None => {
            image::Healthcheck { test: vec!["NONE".to_owned()], ..Default::default() }
        }
        HealthcheckKind::Probe(probe) => image::Healthcheck {
            test: match &probe.command {
                Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                Command::Exec(arguments) => {
                    [&["CMD".to_owned()][..], arguments.as_slice()].concat()
                }
            },
            interval: nanoseconds(probe.interval),
            timeout: nanoseconds(probe.timeout),
            start_period: nanoseconds(probe.start_period),
            start_interval: nanoseconds(probe.start_interval),
            retries: i64::from(probe.retries.unwrap_or(0)),
        },
    };
    state.history.push(history::empty(healthcheck.original.clone()));
    state.config.config.healthcheck = Some(check);
}

/// MAINTAINER.
pub(crate) fn maintainer(state: &mut State, author: &str) {
    state.history.push(history::empty(format!("MAINTAINER {author}")));
    state.config.author = Some(author.to_owned());
}

//! A graph for people to read, and for snapshots in tests.

use std::fmt::{self, Write as _};

use xbuild_model::file_op::{CopyRequest, FileOp};
use xbuild_model::image::ImageConfig;
use xbuild_model::run::{Mount, MountKind, MountSource, Network, RunRequest, Security};

use crate::graph::{Graph, Op, Origin, Output, Vertex, VertexId};
use crate::options::{DEFAULT_HOSTNAME, is_main_context};

impl Graph {
    /// Returns the graph as text: one paragraph for each vertex, each output and the warnings.
    /// Usual values are left out; keys are not shown.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) -> fmt::Result {
        for (id, vertex) in self.iter() {
            let folder = if vertex.needs_folder { "  (folder)" } else { "" };
            writeln!(to, "{} {}{folder}", id.0, vertex.label)?;
            write_op(to, vertex)?;
        }
        for output in &self.outputs {
            write_output(to, output)?;
        }
        if let Some(epoch) = &self.source_date_epoch {
            writeln!(to, "source date epoch {epoch}")?;
        }
        for warning in &self.warnings {
            writeln!(to, "warning: {warning}")?;
        }
        Ok(())
    }
}

fn write_op(to: &mut String, vertex: &Vertex) -> fmt::Result {
    match &vertex.op {
        Op::Scratch => writeln!(to, "    scratch"),
        Op::Image(image) => {
            let count = image.layers.len();
            writeln!(to, "    image {} {}, layers: {count}", image.name, image.platform)
        }
        Op::Run { parent, request, sources, arguments: _ } => {
            writeln!(to, "    run on {}: {:?}", parent.0, request.argv)?;
            write_run(to, request)?;
            request.mounts.iter().try_for_each(|mount| write_mount(to, mount, sources))
        }
        Op::Files { parent, op: FileOp::MakeDir(request), .. } => {
            write!(to, "    make on {}: {}", parent.0, request.path)?;
            option(to, " user=", &request.user)?;
            writeln!(to)
        }
        Op::Files { parent, op: FileOp::Pick { path }, origin, .. } => {
            writeln!(to, "    pick on {} from {}: {path}", parent.0, origin_text(origin.as_ref()))
        }
        Op::Files { parent, op: FileOp::Copy(request), origin, independent } => {
            let origin = origin_text(origin.as_ref());
            let independent = if *independent { ", independent" } else { "" };
            writeln!(to, "    copy on {} from {origin}{independent}", parent.0)?;
            write_copy(to, request)
        }
    }
}

fn write_run(to: &mut String, request: &RunRequest) -> fmt::Result {
    for (name, value) in &request.env {
        writeln!(to, "        {name}={value}")?;
    }
    for (name, value) in &request.unkeyed_env {
        writeln!(to, "        ({name}={value})")?;
    }
    write!(to, "        {} cwd={}", request.platform, request.cwd)?;
    option(to, " user=", &request.user)?;
    match request.network {
        Network::Default => {}
        Network::None => write!(to, " network=none")?,
        Network::Host => write!(to, " network=host")?,
        Network::Private => write!(to, " network=private")?,
    }
    if request.security == Security::Insecure {
        write!(to, " security=insecure")?;
    }
    if request.hostname != DEFAULT_HOSTNAME {
        write!(to, " hostname={}", request.hostname)?;
    }
    writeln!(to)?;
    for script in &request.scripts {
        writeln!(to, "        script {} {:04o}: {:?}", script.path, script.mode, script.contents)?;
    }
    Ok(())
}

fn origin_text(origin: Option<&Origin>) -> String {
    match origin {
        None => "nothing".to_owned(),
        Some(Origin::Context(name)) if is_main_context(name) => "the context".to_owned(),
        Some(Origin::Context(name)) => format!("context {name}"),
        Some(Origin::Vertex(vertex)) => vertex.0.to_string(),
    }
}

fn write_mount(to: &mut String, mount: &Mount, sources: &[VertexId]) -> fmt::Result {
    let place = |source: &MountSource| {
        let vertex = sources.get(source.input).map_or("?".to_owned(), |id| id.0.to_string());
        format!("{vertex}:{}", source.path)
    };
    write!(to, "        mount {}: ", mount.target)?;
    match &mount.kind {
        MountKind::Bind { source, writable } => {
            write!(to, "{}{}", place(source), if *writable { " writable" } else { "" })?;
        }
        MountKind::Cache { id, sharing, seed, mode, uid, gid, read_only } => {
            write!(to, "cache {id:?} {sharing:?} {mode:04o} {uid}:{gid}")?;
            option(to, " from ", &seed.as_ref().map(place).unwrap_or_default())?;
            option(to, "", if *read_only { " read-only" } else { "" })?;
        }
        MountKind::Tmpfs { size } => {
            write!(to, "tmpfs")?;
            option(to, " size=", &size.map(|size| size.to_string()).unwrap_or_default())?;
        }
        MountKind::Secret { id, env, mode, uid, gid, required } => {
            write!(to, "secret {id:?} {mode:04o} {uid}:{gid}")?;
            option(to, " env=", env.as_deref().unwrap_or_default())?;
            option(to, "", if *required { " required" } else { "" })?;
        }
        MountKind::Ssh { id, mode, uid, gid, required } => {
            write!(to, "ssh {id:?} {mode:04o} {uid}:{gid}")?;
            option(to, "", if *required { " required" } else { "" })?;
        }
    }
    writeln!(to)
}

fn write_copy(to: &mut String, request: &CopyRequest) -> fmt::Result {
    for file in &request.inline {
        writeln!(to, "        inline {}: {:?}", file.name, file.contents)?;
    }
    for remote in &request.remotes {
        let unpack = if remote.unpack { ", unpacked" } else { "" };
        writeln!(to, "        after {}{unpack}: {:?}", remote.after, remote.source)?;
    }
    write!(to, "        {:?} -> {:?}", request.sources, request.dest)?;
    option(to, " chown=", request.chown.as_deref().unwrap_or_default())?;
    option(to, " chmod=", request.chmod.as_deref().unwrap_or_default())?;
    for (flag, text) in [
        (request.link, " link"),
        (request.parents, " parents"),
        (request.unpack == Some(true), " unpack"),
    ] {
        option(to, "", if flag { text } else { "" })?;
    }
    if !request.exclude.is_empty() {
        write!(to, " exclude={:?}", request.exclude)?;
    }
    writeln!(to)
}

fn write_output(to: &mut String, output: &Output) -> fmt::Result {
    writeln!(to, "output {}: {}", output.platform, output.vertex.0)?;
    write_config(to, &output.config)?;
    for entry in &output.base_history {
        writeln!(to, "    base history: {}", entry.created_by.as_deref().unwrap_or_default())?;
    }
    for entry in &output.history {
        let vertex = entry.vertex.map_or("-".to_owned(), |vertex| vertex.0.to_string());
        writeln!(to, "    history {vertex}: {}", entry.created_by)?;
    }
    Ok(())
}

fn write_config(to: &mut String, image: &ImageConfig) -> fmt::Result {
    let config = &image.config;
    writeln!(to, "    config for {}", image.platform())?;
    let mut line = |name: &str, value: Option<String>| match value {
        Some(value) => writeln!(to, "        {name} {value}"),
        None => Ok(()),
    };
    let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
    let list = |value: &[String]| Some(format!("{value:?}")).filter(|_| !value.is_empty());
    line("author", image.author.clone())?;
    line("other members", names(image.other.keys()))?;
    for entry in &config.env {
        line("env", text(entry))?;
    }
    line("user", text(&config.user))?;
    line("workdir", text(&config.working_dir))?;
    line("entrypoint", config.entrypoint.as_deref().and_then(list))?;
    line("cmd", config.cmd.as_deref().and_then(list))?;
    line("shell", config.shell.as_deref().and_then(list))?;
    line("expose", names(config.exposed_ports.keys()))?;
    line("volumes", names(config.volumes.keys()))?;
    for (name, value) in &config.labels {
        line("label", Some(format!("{name}={value}")))?;
    }
    line("stopsignal", config.stop_signal.clone())?;
    line("healthcheck", config.healthcheck.as_ref().map(|check| format!("{check:?}")))?;
    for trigger in &config.on_build {
        line("onbuild", text(trigger))?;
    }
    line("other config members", names(config.other.keys()))
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&str> = names.map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

fn option(to: &mut String, prefix: &str, value: &str) -> fmt::Result {
    if value.is_empty() { Ok(()) } else { write!(to, "{prefix}{value}") }
}

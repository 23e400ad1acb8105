//! The options of registries, from the files of xbuild and of other tools.
//!
//! The first place that says something about a registry counts: the command line, xbuild's own
//! configuration, `certs.d`, `registries.conf`, BuildKit's `buildkitd.toml`. A file that cannot be
//! read is a warning, since most builds do not need it.

mod buildkit;
mod certs_d;
mod containers;
mod gathered;
mod own;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gathered::{Fault, Gathered, Said};
pub use own::{REGISTRY_OPTIONS, RegistryOption};
use xbuild_registry::{ClientCertificate, HostOptions, PrefixRule};

use crate::events::{Event, Events, Warning};
use crate::machine::Machine;

/// The options of registries.
pub(crate) struct Hosts {
    /// Those of single registries.
    pub(crate) hosts: BTreeMap<String, HostOptions>,
    /// Where repositories are pulled from if not from their registry.
    pub(crate) prefixes: Vec<PrefixRule>,
}

/// Reads the options of all registries.
pub(crate) fn read(machine: &Machine, events: &dyn Events) -> Hosts {
    let tell = |path: &Path, fault: Fault| {
        let place = path.display().to_string();
        let reason = match fault {
            Fault::Io(error) => error.to_string(),
            Fault::Malformed(line) => format!("malformed at line {line}"),
            Fault::Part(part) => part,
        };
        events.event(Event::Warning(&Warning::HostFile { place, reason }));
    };
    let mut gathered = Gathered::default();
    for host in &machine.insecure_registries {
        gathered.host(host).insecure = Some(true);
    }
    for (host, text) in &machine.registry_mirrors {
        let (place, is_plain) = gathered::mirror(text);
        if is_plain {
            gathered.host(&place.host).insecure = Some(true);
        }
        gathered.host(host).mirrors.push(place);
    }
    let files = &machine.host_files;
    own::read(files.own.as_deref(), &mut gathered, &tell);
    for folder in &files.certs_d {
        certs_d::read(folder, &mut gathered, &tell);
    }
    containers::read(&files.registries_conf, &mut gathered, &tell);
    buildkit::read(&files.buildkitd, &mut gathered, &tell);
    let Gathered { hosts, prefixes } = gathered;
    Hosts {
        hosts: hosts.into_iter().map(|(host, said)| (host, finish(said, &tell))).collect(),
        prefixes,
    }
}

/// Reads the certificates that the options name.
fn finish(said: Said, tell: &dyn Fn(&Path, Fault)) -> HostOptions {
    let pem = |path: &PathBuf| match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tell(path, Fault::Io(error));
            None
        }
    };
    let pair = said.pair.as_ref();
    let pair = pair.and_then(|(chain, key)| Some((pem(chain)?, pem(key)?)));
    HostOptions {
        mirrors: said.mirrors,
        insecure: said.insecure.unwrap_or_default(),
        insecure_credentials: said.insecure_credentials.unwrap_or_default(),
        roots: said.roots.iter().filter_map(pem).collect(),
        client_certificate: pair.map(|(chain, key)| ClientCertificate { chain, key }),
        headers: said.headers,
        chunk: said.chunk,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::machine::HostFiles;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Events for Told {
        fn event(&self, event: Event<'_>) {
            if let Event::Warning(warning) = event {
                self.0.lock().unwrap().push(warning.to_string());
            }
        }
    }

    fn mirrors(options: &HostOptions) -> Vec<String> {
        options.mirrors.iter().map(|m| format!("{}/{}", m.host, m.path)).collect()
    }

    #[test]
    fn the_first_place_that_says_something_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let own = write(
            "config.toml",
            "[registry.\"docker.io\"]\nmirrors = [\"own.example:5000/hub\"]\nchunk-size = 7\n\
             headers = { X-A = \"b\" }\n[registry.\"R.example\"]\nca = \"ca.pem\"\nnew = 1\n",
        );
        write("ca.pem", "own");
        write("certs.d/r.example/more.crt", "more");
        write("certs.d/r.example/client.cert", "chain");
        write("certs.d/r.example/client.key", "key");
        write(
            "certs.d/c.example/hosts.toml",
            "server = \"https://c.example\"\n[host.\"http://m.example:80/v2/p\"]\n\
             capabilities = [\"pull\", \"resolve\"]\n[host.\"https://p.example\"]\n\
             capabilities = [\"push\"]\nskip_verify = true\n",
        );
        let conf = write(
            "registries.conf",
            "unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nprefix = \"docker.io\"\n\
             insecure = true\n[[registry.mirror]]\nlocation = \"conf.example\"\n[[registry]]\n\
             location = \"K.example/only/this\"\n[[registry]]\nlocation = \"s.example\"\n\
             [[registry.mirror]]\nlocation = \"t.example/x\"\ninsecure = true\n[[registry]]\n\
             prefix = \"*.w.example\"\ninsecure = true\n[[registry]]\nprefix = \"/x\"\n[[registry]]\n\
             prefix = \"o.example/a\"\nlocation = \"n.example:5000/b\"\ninsecure = true\n\
             mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m.example/c\"\n\
             [[registry.mirror]]\nlocation = \"m.example/d\"\npull-from-mirror = \"tag-only\"\n\
             [[registry]]\nprefix = \"no.example\"\nblocked = true\n",
        );
        let buildkitd = write(
            "buildkitd.toml",
            "debug = true\n[registry.\"s.example\"]\nmirrors = [\"no.example\"]\nhttp = true\n\
             [registry.\"b.example\"]\nmirrors = [\"https://u.example/v\"]\ninsecure = true\n",
        );
        let machine = Machine {
            insecure_registries: vec!["flag.example:5000".to_owned()],
            registry_mirrors: vec![
                ("flag.example:5000".to_owned(), "http://fm.example/p".to_owned()),
                ("b.example".to_owned(), "first.example".to_owned()),
            ],
            host_files: HostFiles {
                own: Some(own),
                certs_d: vec![folder.path().join("certs.d"), folder.path().join("absent")],
                registries_conf: vec![folder.path().join("absent"), conf],
                buildkitd: vec![buildkitd],
            },
            ..Machine::default()
        };
        let told = Told::default();
        let Hosts { hosts, prefixes } = read(&machine, &told);
        let hub = &hosts["docker.io"];
        assert_eq!((mirrors(hub), hub.chunk), (vec!["own.example:5000/hub".to_owned()], Some(7)));
        assert!(hub.insecure && hub.headers[0].0 == "X-A");
        let own = &hosts["r.example"];
        assert_eq!(own.roots, [b"own".to_vec(), b"more".to_vec()]);
        let pair = own.client_certificate.as_ref().unwrap();
        assert_eq!((&pair.chain[..], &pair.key[..]), (&b"chain"[..], &b"key"[..]));
        assert_eq!(mirrors(&hosts["c.example"]), ["m.example:80/p"]);
        assert!(hosts["m.example:80"].insecure && hosts["p.example"].insecure);
        assert_eq!(mirrors(&hosts["s.example"]), ["t.example/x"]);
        assert!(hosts["s.example"].insecure && hosts["t.example"].insecure);
        assert_eq!(mirrors(&hosts["b.example"]), ["first.example/"]);
        assert_eq!(mirrors(&hosts["flag.example:5000"]), ["fm.example/p"]);
        assert!(hosts["fm.example"].insecure && hosts["*.w.example"].insecure);
        let [only, moved, blocked] = &prefixes[..] else { panic!("{prefixes:?}") };
        assert_eq!((only.prefix.as_str(), &only.location), ("k.example/only/this", &None));
        assert_eq!(moved.location.as_ref().unwrap().path, "b");
        let kinds =
            moved.mirrors.iter().map(|m| (m.place.path.as_str(), m.for_tags, m.for_digests));
        assert_eq!(kinds.collect::<Vec<_>>(), [("c", false, true), ("d", true, false)]);
        assert!(hosts["n.example:5000"].insecure && !hosts.contains_key("o.example"));
        assert!(blocked.is_blocked);
        assert!(hosts["flag.example:5000"].insecure && !hosts["r.example"].insecure);
        let told = told.0.into_inner().unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("registry.R.example.new") && told[1].contains("\"/x\""));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, "a = 1\nb = \"SECRET\n").unwrap();
        for number in 0..3 {
            let mut files = HostFiles::default();
            match number {
                0 => files.own = Some(path.clone()),
                1 => files.registries_conf = vec![path.clone()],
                _ => files.buildkitd = vec![path.clone()],
            }
            let told = Told::default();
            let machine = Machine { host_files: files, ..Machine::default() };
            assert!(read(&machine, &told).hosts.is_empty());
            let told = told.0.into_inner().unwrap();
            assert!(told.len() == 1 && told[0].contains("x.toml: malformed at line 2"), "{told:?}");
            assert!(!told[0].contains("SECRET"));
        }
    }
}

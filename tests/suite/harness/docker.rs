//! A stand-in of the API of a Docker daemon, on a socket.
//!
//! It loads archives as moby does: a layer is looked up by its chain before its file is opened, so a
//! file that is missing matters only if the daemon lacks the layer.
//!
//! **Source** — Docker Engine API 1.43; moby, `image/tarexport/load.go`.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::image::{self, digest};

/// The version of the API in which images are shown with their manifests.
const WITH_MANIFESTS: &str = "1.48";

/// The daemon. It serves until the end of the test's process.
#[derive(Debug)]
pub(crate) struct Docker {
    pub(crate) socket: PathBuf,
    state: Arc<Mutex<State>>,
    _folder: tempfile::TempDir,
}

#[derive(Debug, Default)]
struct State {
    /// Name or ID -> ID and uncompressed layers.
    images: BTreeMap<String, (String, Vec<String>)>,
    /// For each archive the paths of the layers that were in it.
    archives: Vec<Vec<String>>,
    /// Answers that a test asked for, by the beginning of the request.
    answers: Vec<(String, String)>,
    is_containerd: bool,
    is_podman: bool,
    api: &'static str,
}

impl Docker {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(client, &state));
            }
        });
        Self { socket, state, _folder: folder }
    }

    /// Returns the value of `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Answers requests that begin with a text, such as `POST /images/load`, with an answer, without
    /// `HTTP/1.1 `: `500 x\r\n\r\n{}`.
    pub(crate) fn answer(&self, request: &str, answer: &str) {
        self.state.lock().unwrap().answers.push((request.to_owned(), answer.to_owned()));
    }

    /// Makes it keep images as containerd does, and say so, with this version of the API.
    pub(crate) fn be_containerd(&self, api: &'static str) {
        let mut state = self.state.lock().unwrap();
        (state.is_containerd, state.api) = (true, api);
    }

    /// Makes it say that it is podman.
    pub(crate) fn be_podman(&self) {
        self.state.lock().unwrap().is_podman = true;
    }

    /// Forgets the layers of all images but says that it has them.
    pub(crate) fn lose_layers(&self) {
        let images = &mut self.state.lock().unwrap().images;
        images.values_mut().for_each(|(id, _)| id.push_str(" lost"));
    }

    /// Returns the number of layers in each archive so far.
    pub(crate) fn archives(&self) -> Vec<usize> {
        self.state.lock().unwrap().archives.iter().map(Vec::len).collect()
    }

    /// Returns the ID of an image, the digest of its configuration.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        self.state.lock().unwrap().images.get(name).map(|(id, _)| id.clone())
    }
}

fn serve(client: UnixStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let asked: String = head.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let prepared = {
        let answers = &state.lock().unwrap().answers;
        answers.iter().find(|(start, _)| asked.starts_with(start)).map(|(_, answer)| answer.clone())
    };
    let sent = if asked.starts_with("POST /images/load") { body(&mut reader) } else { Vec::new() };
    let answer = match prepared {
        Some(answer) => answer,
        None => {
            let (status, body) = match asked.strip_prefix("POST /images/") {
                Some(path) if path.starts_with("load") => (200, load(&sent, state)),
                Some(path) => tag(path, &mut state.lock().unwrap()),
                None => found(&asked, &state.lock().unwrap()),
            };
            format!("{status} x\r\ncontent-type: application/json\r\n\r\n{body}")
        }
    };
    // A client that went away needs no answer.
    let head = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let _ = (&client).write_all(format!("HTTP/1.1 {head}").as_bytes());
}

fn found(asked: &str, state: &State) -> (u16, Value) {
    let path = asked.strip_prefix("GET ").unwrap_or_default();
    match path {
        "/version" => {
            let name = if state.is_podman { "Podman Engine" } else { "Engine" };
            (200, json!({"Components": [{"Name": name}], "ApiVersion": state.api}))
        }
        "/info" if state.is_containerd => {
            (200, json!({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}))
        }
        "/info" => (200, json!({"DriverStatus": [["Backing Filesystem", "extfs"]]})),
        "/images/json?all=1" => {
            let ids: HashSet<_> = state.images.values().map(|(id, _)| id).collect();
            (200, ids.into_iter().map(|id| json!({"Id": id.trim_end_matches(" lost")})).collect())
        }
        _ => {
            let name =
                path.trim_start_matches("/images/").split("/json").next().unwrap_or_default();
            match state.images.get(name) {
                Some((id, layers)) => (200, shown(state, id, layers)),
                None => (404, json!({"message": format!("No such image: {name}")})),
            }
        }
    }
}

/// Shows an image, as containerd does with its manifests.
fn shown(state: &State, id: &str, layers: &[String]) -> Value {
    let mut shown = json!({"Id": id, "RootFS": {"Layers": layers}});
    if state.is_containerd && state.api == WITH_MANIFESTS {
        let is_whole = !id.ends_with(" lost");
        let id = id.trim_end_matches(" lost");
        shown["Manifests"] = json!([{"ID": id, "Available": is_whole, "Kind": "image"}]);
    }
    shown
}

/// Gives an image one more name: `NAME/tag?repo=REPOSITORY&tag=TAG`.
fn tag(path: &str, state: &mut State) -> (u16, Value) {
    let (name, more) = path.split_once("/tag?repo=").unwrap();
    let image = state.images.get(name).cloned();
    image.map_or((404, json!({"message": "no such image"})), |image| {
        state.images.insert(more.replace("&tag=", ":"), image);
        (201, json!(null))
    })
}

/// Reads a body that comes in chunks.
fn body(reader: &mut impl std::io::BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        if size == 0 {
            return body;
        }
        reader.take(size).read_to_end(&mut body).unwrap();
        reader.read_line(&mut line).unwrap();
    }
}

/// Loads an archive and returns what the daemon says.
fn load(archive: &[u8], state: &Mutex<State>) -> Value {
    let entries = image::entries(archive).into_iter();
    let files: BTreeMap<String, Vec<u8>> = entries
        .filter(|entry| entry.kind == "file")
        .map(|entry| (entry.path, entry.content.to_vec()))
        .collect();
    let mut state = state.lock().unwrap();
    let Some(manifest) = files.get("manifest.json") else {
        state.archives.push(Vec::new());
        return json!({"error": "invalid archive"});
    };
    let image = serde_json::from_slice::<Value>(manifest).unwrap()[0].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let config = &files[image["Config"].as_str().unwrap()];
    let diff_ids = list(&serde_json::from_slice::<Value>(config).unwrap()["rootfs"]["diff_ids"]);
    let paths = list(&image["Layers"]);
    state.archives.push(paths.iter().filter(|path| files.contains_key(*path)).cloned().collect());
    let mut is_whole = true;
    for (count, (path, diff_id)) in (1..).zip(paths.iter().zip(&diff_ids)) {
        let has = |(id, layers): &(String, Vec<String>)| {
            !id.ends_with(" lost") && layers.starts_with(&diff_ids[..count])
        };
        if state.images.values().any(has) {
            continue;
        }
        let Some(bytes) = files.get(path) else {
            if state.is_containerd {
                is_whole = false;
                continue;
            }
            return json!({"error": format!("open {path}: no such file or directory")});
        };
        let mut tar = Vec::new();
        if MultiGzDecoder::new(&bytes[..]).read_to_end(&mut tar).is_err() {
            tar.clone_from(bytes);
        }
        if digest(&tar) != *diff_id {
            return json!({"error": format!("invalid diffID for layer {count}")});
        }
    }
    let mut id = digest(config);
    let names = image["RepoTags"].as_array().map(|_| list(&image["RepoTags"])).unwrap_or_default();
    if state.is_containerd {
        let index = serde_json::from_slice::<Value>(&files["index.json"]).unwrap();
        id = text(&index["manifests"][0]["digest"]);
    }
    if state.is_podman && names.len() > 1 {
        return json!({"error": "more than one image in oci, choose an image"});
    }
    let known = id.clone();
    if !is_whole {
        id.push_str(" lost");
    }
    for name in names.into_iter().chain([known]) {
        state.images.insert(name, (id.clone(), diff_ids.clone()));
    }
    json!({"stream": "Loaded image"})
}

//! `xbuild doctor`, and the same words in the refusal of a build.

use serde_json::Value;

use crate::harness::{CREDENTIALS, Finished, Need, Place, Registry, User, needs};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Runs xbuild in a user namespace of its own that allows no others, nor `chroot(2)`.
fn without_namespaces(place: &Place, args: &[&str]) -> Finished {
    let mut command = place.command("unshare");
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_chroot \"$@\"";
    command.args(["-Ur", "sh", "-ec", script, "sh"]).arg(place.path().join("xbuild"));
    command.args(args);
    Finished::run(command)
}

#[test]
fn json_has_the_documented_fields() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let found: Value =
            serde_json::from_str(&place.run(["doctor", "--format", "json"]).ok().stdout).unwrap();
        let top = [
            "ids",
            "isolation",
            "kernel",
            "networks",
            "platforms",
            "registries",
            "run",
            "rungs",
            "store",
            "surroundings",
            "version",
        ];
        assert_eq!(keys(&found), top);
        let around = ["apparmor", "no_new_privs", "place", "seccomp", "uid"];
        assert_eq!(keys(&found["surroundings"]), around);
        let rung = &found["rungs"][0];
        assert_eq!(keys(rung), ["name", "possible", "price", "remedy", "roots", "why"]);
        assert_eq!(keys(&rung["roots"][0]), ["name", "possible", "remedy", "why"]);
        let platform =
            ["digest", "emulator", "name", "pace", "possible", "remedy", "version", "way", "why"];
        assert_eq!(keys(&found["platforms"][0]), platform);
        assert_eq!((&found["version"], &found["run"]), (&Value::from(1), &Value::from(true)));
        let has_range = user != User::Single;
        let ids = if has_range { "range" } else { "single" };
        assert_eq!(found["isolation"], format!("userns-{ids}/overlay"));
        assert_eq!(found["ids"], ids);
        let [private, none] = &found["networks"].as_array().unwrap()[..] else { panic!() };
        let network = ["name", "possible", "remedy", "why"];
        assert_eq!([keys(private), keys(none)], [network, network]);
        assert_eq!(private["name"], "private");
        if Need::Pasta.is_met() {
            assert_eq!(private["possible"], true, "{private}");
        }
        assert_eq!((&none["name"], &none["possible"]), (&"none".into(), &true.into()));
        assert_eq!(rung["possible"], has_range, "{rung}");
        assert_eq!(rung["why"].is_null(), has_range, "{rung}");
    }
}

#[test]
fn a_machine_without_namespaces_has_status_5_and_a_reason() {
    needs!(Run, Tool("unshare"));
    for user in User::all() {
        let place = Place::new(user);
        let text = without_namespaces(&place, &["doctor"]);
        assert_eq!((text.status, &*text.stderr), (5, ""));
        text.prints(&["RUN steps: no", "userns-single: no", "max_user_namespaces is 0"]);
        let json = without_namespaces(&place, &["doctor", "--format", "json"]);
        assert_eq!(json.status, 5);
        let found: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!((&found["run"], &found["isolation"]), (&Value::from(false), &Value::Null));
        let rungs = found["rungs"].as_array().unwrap();
        let remedy = |rung: &Value| rung["remedy"].as_str().unwrap().to_owned();
        assert!(rungs.iter().all(|rung| rung["possible"] == false), "{found:#}");
        // The refusal of a build has the same words.
        place.dockerfile("FROM busybox\nCOPY Dockerfile /\nRUN echo ran\n");
        let args = place.build_args(&[]);
        let args: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        let refused = without_namespaces(&place, &args);
        refused.fails(5, &[&remedy(&rungs[0]), "`xbuild doctor`"]).does_not_say("#1");
    }
}

#[test]
fn an_image_out_of_reach_has_status_4() {
    needs!(Run);
    let place = Place::new(User::Me);
    let found = place.run(["doctor", "127.0.0.1:1/nobody/there:1"]);
    assert_eq!(found.status, 4, "{}", found.stdout);
    found.prints(&["RUN steps: yes", "127.0.0.1:1/nobody/there:1: no: "]);
}

#[test]
fn registries_are_asked_with_the_login() {
    needs!(Run, Registry);
    let (open, closed) = (Registry::start(), Registry::with_password());
    let place = Place::new(User::Me);
    place.run(["doctor", &open.host]).ok().prints(&[&format!("{}: reachable", open.host)]);
    place.run(["doctor", &format!("{}/", open.host)]).ok();
    let denied = place.run(["doctor", &open.host, &closed.host, "127.0.0.1:1"]);
    assert_eq!(denied.status, 4, "{}", denied.stdout);
    denied.prints(&[
        &format!("{}: reachable", open.host),
        &format!("{}: no: cannot use the registry", closed.host),
        "127.0.0.1:1: no: cannot use the registry 127.0.0.1:1: cannot connect",
    ]);
    let folder = place.path().join("home/.docker");
    std::fs::create_dir_all(&folder).unwrap();
    let logins = serde_json::json!({"auths": {&closed.host: {"auth": CREDENTIALS}}});
    std::fs::write(folder.join("config.json"), logins.to_string()).unwrap();
    place.run(["doctor", &closed.host]).ok().prints(&[&format!("{}: reachable", closed.host)]);
}

#[test]
fn a_store_that_cannot_be_made_is_named() {
    for user in User::all() {
        let found = Place::new(user).run(["doctor", "--root", "/proc/nowhere"]);
        assert_eq!(found.status, 5, "{}", found.stdout);
        found.prints(&["RUN steps: no", "/proc"]);
    }
}

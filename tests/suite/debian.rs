//! A package manager, which asks more of a sandbox than most programs: users, groups, locks,
//! devices, signals, the network.

use std::collections::BTreeMap;

use crate::harness::{Finished, Place, User, needs, to_layout};
use crate::image::{self, Image};

const DOCKERFILE: &str = "\
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends hello
RUN hello > /said && dpkg --print-architecture > /architecture
";

#[track_caller]
fn install(platform: &str) -> Image {
    // apt gives up its rights and becomes another user, so the builder needs a range of ids.
    let users = User::all();
    let by_preference = [User::Ranged, User::Me];
    let user = by_preference.into_iter().find(|user| users.contains(user));
    let place = Place::new(user.unwrap());
    place.dockerfile(DOCKERFILE);
    let base = place.base("debian");
    let image = place.image(&["--platform", platform, "--build-context", &base]);
    assert_eq!(image.text("said"), "Hello, world!");
    let files = image.files();
    assert!(files.contains_key("usr/bin/hello") && files.contains_key("var/lib/dpkg/status"));
    let sandbox = files.keys().find(|path| path.starts_with("proc/") || path.starts_with("sys/"));
    assert_eq!(sandbox, None);
    image
}

#[test]
fn apt_installs() {
    needs!(Run, Range, Debian);
    assert_eq!(install("linux/amd64").text("architecture"), "amd64");
}

#[test]
fn apt_installs_under_emulation() {
    needs!(Run, Range, Debian, Emulation);
    assert_eq!(install("linux/arm64").text("architecture"), "arm64");
}

/// Packages with users, groups, set-id programs, pipes and links, and then a user of the image.
const OWNERS: &str = r#"
FROM debian AS packages
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update -q && apt-get install -y -q --no-install-recommends openssh-client dbus-daemon man-db cron nginx-light \
 postgresql rsync python3-minimal rpm && rm -rf /var/lib/apt/lists /var/cache /var/log /var/lib/dbus/machine-id /etc/machine-id
RUN useradd -m svc && echo x > /x && install -o svc -g svc -m 640 /x /srv/x && su svc -c 'echo y > ~/y; mkdir ~/d; id > ~/id'
RUN service postgresql start && su postgres -c 'psql -qc "create table t(i int); insert into t values (7)"' \
 && su postgres -c 'psql -Atc "select * from t"' > /rows && service postgresql stop
RUN rsync -a /home/svc/ /synced && python3 -c 'import os; os.chown("/x", 5, 6); s = os.stat("/x"); l = os.lstat("/synced/d"); \
 print(s.st_uid, s.st_gid, l.st_uid, file=open("/python", "w"))'
RUN printf '%s\n' 'Name: fs' 'Version: 1' 'Release: 1' 'Summary: x' 'License: x' 'BuildArch: noarch' '%description' \
 '%install' 'mkdir -p %{buildroot}/proc %{buildroot}/sys %{buildroot}/dev %{buildroot}/opt/fs %{buildroot}/etc' \
 'touch %{buildroot}/opt/fs/own; ln -s own %{buildroot}/opt/fs/link; echo 127.0.0.1 mine > %{buildroot}/etc/hosts' \
 '%files' '%dir %attr(555,root,root) /proc' '%dir %attr(555,root,root) /sys' '%dir %attr(755,root,root) /dev' \
 '%dir /opt/fs' '%attr(640,daemon,adm) /opt/fs/own' '%attr(-,daemon,adm) /opt/fs/link' '%config(noreplace) /etc/hosts' \
 > /fs.spec && rpmbuild --quiet -bb /fs.spec && mv /root/rpmbuild/RPMS/noarch/*.rpm /fs.rpm && rm -r /root/rpmbuild
FROM packages
RUN rpm -i --nodeps /fs.rpm && rpm -q fs && stat -c '%u:%g %a %n' /opt/fs/own /opt/fs/link > /owners
"#;

/// Every path, with its kind, mode and owner, below the packages of the last image of a layout.
fn owners(image: &Image) -> BTreeMap<String, (u32, (u64, u64))> {
    let files = image.files();
    files.iter().map(|(path, entry)| (path.clone(), (entry.mode, entry.owner))).collect()
}

/// A user with one id, without the right to gain any, makes the image that a range of ids gives.
/// Package managers may own `/proc` and `/sys`.
#[test]
fn packages_have_the_same_owners_with_one_id() {
    needs!(Run, Range, Debian);
    let users = User::all();
    let range = [User::Ranged, User::Me].into_iter().find(|user| users.contains(user)).unwrap();
    let single = if users.contains(&User::Single) { User::Single } else { range };
    let built = [(range, "userns-range"), (single, "userns-single")].map(|(user, rung)| {
        let place = Place::new(user);
        place.dockerfile(OWNERS);
        let (base, layout) = (place.base("debian"), place.out("image"));
        let mut command = place.command("setpriv");
        if user == User::Single {
            command.arg("--no-new-privs");
        }
        command.arg(place.path().join("xbuild"));
        command.args(place.build_args(&[
            "--build-context",
            &base,
            "--output",
            &to_layout(&layout),
            "--isolation",
            rung,
        ]));
        Finished::run(command).ok();
        let images = image::read(&layout);
        assert_eq!(images[0].text("owners"), "1:4 640 /opt/fs/own\n1:4 777 /opt/fs/link");
        let [rows, python] = ["rows", "python"].map(|name| images[0].text(name));
        assert_eq!((&rows[..], &python[..]), ("7", "5 6 1000"), "{rung}");
        (owners(&images[0]), images[0].text("home/svc/id"))
    });
    let [(one, id), (other, same)] = built;
    assert_eq!(id, same);
    let differ = |path: &&String| one.get(*path) != other.get(*path);
    let differing: Vec<&String> = one.keys().chain(other.keys()).filter(differ).collect();
    assert_eq!(differing, Vec::<&String>::new());
    assert!(one.len() > 1000 && one.values().any(|(_, owner)| owner.1 > 100), "{}", one.len());
}

//! Tests of what the starter thinks of arguments and variables.

use super::asked::{
    has_only, has_option, is_apk_change, is_called_by, is_compilation, is_harmless, is_link,
    is_plain_awk, is_unpack, names_processor,
};

fn texts<'a>(texts: &'a [&str]) -> impl Iterator<Item = &'a [u8]> {
    texts.iter().map(|text| text.as_bytes())
}

#[test]
fn the_file_about_the_processor_is_found_anywhere() {
    for arguments in [&["-c", "cat /proc/cpuinfo"][..], &["cpuinfo"], &["a", "b", "xcpuinfox"]] {
        assert!(names_processor(texts(arguments)), "{arguments:?}");
    }
    for arguments in [&[][..], &[""], &["cpuinf", "o"], &["cpu/info", "CPUINFO"]] {
        assert!(!names_processor(texts(arguments)), "{arguments:?}");
    }
}

#[test]
fn a_name_is_the_last_part_of_what_a_program_is_called() {
    let is_called =
        |arguments: &[&str]| is_called_by(texts(&["busybox", "cat", "sh"]), texts(arguments));
    for arguments in
        [&["cat"][..], &["/bin/cat", "x"], &["-sh"], &["-/bin/sh"], &["busybox", "sh", "-c"]]
    {
        assert!(is_called(arguments), "{arguments:?}");
    }
    for arguments in [
        &[][..],
        &[""],
        &["awk"],
        &["/cat/awk"],
        &["cat/"],
        &["busybox"],
        &["busybox", "awk"],
        &["busybox", "/bin/cat"],
        &["busybox", "busybox"],
        &["catx"],
        &["ca"],
    ] {
        assert!(!is_called(arguments), "{arguments:?}");
    }
}

#[test]
fn a_compiler_that_is_asked_about_itself_does_not_compile() {
    let usual = ["-quiet", "-imultiarch", "aarch64-linux-gnu", "-I", "x", "a.c", "-O2", "-std=c99"];
    assert!(is_compilation(texts(&usual)));
    for own in [
        "-v",
        "--version",
        "--help=common",
        "--output-pch",
        "--output-pch=a.gch",
        "-fsanitize=undefined",
        "-fplugin=x",
        "-fmodules-ts",
        "-iprefix",
        "-isysroot",
        "-stdlib=libc++",
        "@file",
    ] {
        let arguments: Vec<&str> = usual.into_iter().chain([own]).collect();
        assert!(!is_compilation(texts(&arguments)), "{own}");
    }
    assert!(is_compilation(texts(&["-", "", "-fverbose-asm", "v", "-std=c++20", "--param"])));
}

#[test]
fn a_linker_has_the_plugin_of_the_compiler() {
    let plugin = b"/usr/x/plugin.so";
    let usual = ["-plugin", "/usr/x/plugin.so", "-plugin-opt=-fresolution=x", "-pie", "-o", "a"];
    let more = ["--version-script=x", "-v", "-rpath-link", "y", "x.o", "-lc", "--as-needed"];
    let is = |arguments: &[&str]| is_link(texts(arguments), plugin);
    assert!(is(&usual) && is(&[&usual[..], &more].concat()));
    assert!(!is(&more), "it looks for plugins itself");
    assert!(!is(&["-plugin"]) && !is(&["-plugin", "/usr/x/other.so"]));
    for own in
        ["@file", "-V", "--verbose", "--help", "--sysroot=/x", "--plugin=y", "-plugin=y", "-plugin"]
    {
        assert!(!is(&[&usual[..], &[own]].concat()), "{own}");
    }
}

#[test]
fn a_folder_has_names_of_a_list_alone() {
    let entry = |name: &str| {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let mut entry = vec![0; length];
        entry[16..18].copy_from_slice(&u16::to_ne_bytes(u16::try_from(length).unwrap()));
        entry[19..19 + name.len()].copy_from_slice(name.as_bytes());
        entry
    };
    let has_only = |names: &[&str]| {
        has_only(&names.iter().flat_map(|name| entry(name)).collect::<Vec<_>>(), b"libc.conf x ")
    };
    assert!(has_only(&[]) && has_only(&[".", "..", "libc.conf", "x"]) && has_only(&["x", "."]));
    for name in ["", "libc", "libc.conf2", "y", "...", "x "] {
        assert!(!has_only(&[".", "x", name]), "{name}");
    }
}

#[test]
fn unpacking_has_few_forms() {
    for arguments in [
        &["--fsys-tarfile", "/a.deb"][..],
        &["--control", "/a.deb", "/folder"],
        &["-Qao", "/queue", "/a.deb"],
        &["-x", "-f", "-", "--warning=no-timestamp"],
        &["-x", "-m", "-f", "-", "--warning=no-timestamp"],
    ] {
        assert!(is_unpack(texts(arguments)), "{arguments:?}");
    }
    for arguments in [
        &[][..],
        &["--build", "folder"],
        &["-b", "folder"],
        &["--control", "/a.deb", "-v"],
        &["-Zgzip", "--fsys-tarfile", "/a.deb"],
        &["--fsys-tarfiles", "/a.deb"],
        &["--info", "/a.deb"],
        &["-Qa", "/a.deb"],
        &["-s", "/a.deb"],
        &["-x", "-f", "/a.tar"],
        &["-x", "-f", "-", "--to-command=date"],
        &["-xf", "-"],
        &["-c", "-f", "-"],
    ] {
        assert!(!is_unpack(texts(arguments)), "{arguments:?}");
    }
}

#[test]
fn apk_changes_its_own_root() {
    let is_change = |line: &str| {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        is_apk_change(texts(&words))
    };
    for line in [
        "add curl",
        "add --no-cache curl git",
        "--no-cache add -t .deps gcc",
        "add --virtual .deps gcc>=12 !musl-dev",
        "add --virtual=.deps gcc",
        "add -U -X http://mirror.example/main so:libz.so.1",
        "add -tdeps -Uu zlib",
        "--repository http://mirror.example/main --update add zlib",
        "update",
        "-q upgrade --available",
        "del .deps",
        "fix",
    ] {
        assert!(is_change(line), "{line}");
    }
    for line in [
        "",
        "--print-arch",
        "--version",
        "-V",
        "info -e zlib",
        "add --root /new --initdb zlib",
        "--root=/new add zlib",
        "add -p /new zlib",
        "-p/new add zlib",
        "add -Up /new zlib",
        "add --arch x86_64 zlib",
        "add --roo /new zlib",
        "add -- zlib",
        "add --virtual",
        "--repository http://mirror.example/main",
        "add --virtualx y z",
    ] {
        assert!(!is_change(line), "{line}");
    }
}

#[test]
fn awk_has_its_program_in_its_arguments() {
    for arguments in [
        &["{ print $1 }", "/etc/passwd"][..],
        &["-F:", "{ print $1 }"],
        &["-F", ":", "-v", "a=b", "-vc=d", "--", "{ print a }", "x=1", "file"],
        &["-F", "%", "{ print }"],
        &["--", "{ print }"],
    ] {
        assert!(is_plain_awk(texts(arguments)), "{arguments:?}");
    }
    for arguments in [
        &[][..],
        &["-f", "file"],
        &["-F"],
        &["--"],
        &["-F", ":"],
        &["-v"],
        &["-v", "a=%x", "{ print }"],
        &["-va=\\045", "{ print }"],
        &["{ print }", "OFMT=%x"],
        &["-W", "version"],
        &["--version"],
        &["{ print log($1) }"],
        &["--", "{ print log($1) }"],
    ] {
        assert!(!is_plain_awk(texts(arguments)), "{arguments:?}");
    }
}

#[test]
fn options_hide_in_groups_and_behind_long_names() {
    for arguments in [&["-g"][..], &["a", "-ng"], &["--general-numeric-sort"], &["--k"]] {
        assert!(has_option(texts(arguments), b'g'), "{arguments:?}");
    }
    for arguments in [&[][..], &["g"], &["-n", "-", "--", ""], &["-k2"]] {
        assert!(!has_option(texts(arguments), b'g'), "{arguments:?}");
    }
}

#[test]
fn variables_of_loaders_and_locales_count() {
    for variable in [
        "LD_PRELOAD=x",
        "LD_=",
        "LOCPATH=/x",
        "GCONV_PATH=/x",
        "PERL5LIB=/x",
        "PERL5OPT=-w",
        "LANG=de_DE",
        "LANG=de_DE.ISO-8859-1",
        "LC_ALL=de_DE.UTF-16",
        "LC_TIME=x.utf-80",
        "LANG=x.utf",
        "APK_CONFIG=/x",
        "OPENSSL_CONF=/x",
        "OPENSSL_MODULES=/x",
        "OPENSSL_ENGINES=/x",
    ] {
        assert!(!is_harmless(variable.as_bytes(), true), "{variable}");
    }
    for variable in [
        "",
        "LD",
        "XLD_PRELOAD=x",
        "PERL=x",
        "LOCPATHS=x",
        "LANGUAGE=de",
        "OPENSSL_VERSION=3",
        "LANG=",
        "LANG=C",
        "LC_ALL=POSIX",
        "LC_ALL",
        "LANG=C.UTF-8",
        "LC_CTYPE=C.utf8",
    ] {
        assert!(is_harmless(variable.as_bytes(), true), "{variable}");
        assert!(is_harmless(variable.as_bytes(), false), "{variable}");
    }
    for variable in ["LANG=de_DE.UTF-8", "LC_ALL=de_DE.utf8", "LC_ALL=fr_FR.Utf-8"] {
        assert!(is_harmless(variable.as_bytes(), true), "{variable}");
        assert!(!is_harmless(variable.as_bytes(), false), "its archive has the other byte order");
    }
}

use super::clean::clean;
use super::*;
use crate::PatternError;

fn glob(pattern: &str, name: &str) -> bool {
    Glob::new(pattern.as_bytes()).unwrap().matches(name.as_bytes())
}

#[test]
fn a_source_pattern_is_go_filepath_match() {
    for (pattern, name, expected) in [
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*b*c", "axbxxc", true),
        ("a*b*c", "axbxx", false),
        ("***", "x", true),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("[\\-x]", "-", true),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("br[[]1].txt", "br[1].txt", true),
        ("x\\]", "x]", true),
        ("größe.*", "größe.txt", true),
    ] {
        assert_eq!(glob(pattern, name), expected, "{pattern} {name}");
    }
    for bad in ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "a\\", "[a-b-c]", "[]"] {
        assert!(Glob::new(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_byte_that_is_no_character_is_matched_as_one() {
    assert!(Glob::new(b"a?c").unwrap().matches(b"a\xffc"));
    assert!(Glob::new(b"a\xffc").unwrap().matches(b"a\xffc"));
    assert!(!Glob::new(b"a\xfec").unwrap().matches(b"a\xffc"));
}

#[test]
fn a_backslash_hides_the_special_character_behind_it() {
    for (text, expected) in
        [("a", false), ("a*", true), ("a\\*", false), ("a\\\\*", true), ("[", true), ("?", true)]
    {
        assert_eq!(Glob::is_pattern(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn patterns_take_long_names_in_linear_time() {
    let pattern = format!("{}b", "*a".repeat(40));
    assert!(!glob(&pattern, &"a".repeat(250)));
    let list = PatternList::new(["**/a".repeat(40) + "/**/*b?"]).unwrap();
    assert!(!list.matches("a/".repeat(1000).as_bytes(), &Matched::default()).0);
}

fn listed(patterns: &[&str], path: &str) -> bool {
    PatternList::new(patterns).unwrap().matches_path(path.as_bytes()).0
}

#[test]
fn double_stars_take_folders() {
    for (pattern, path, expected) in [
        ("**", "file", true),
        ("**", "a/b", true),
        ("**/", "a/b", true),
        ("**/**", "a/b", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir", false),
        ("dir/**/*", "dir/a/b", true),
        ("**/dir", "dir", true),
        ("**/dir", "a/b/dir", true),
        ("**/dir", "a/xdir", false),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/x/file", true),
        ("**dir", "xdir", true),
        ("**file", "a/b/file", true),
        ("**/*.md", "a/b.md", true),
        ("**/*.md", "b.md", true),
        ("y/**/z", "y/z", true),
        ("y/**/z", "y/1/2/z", true),
        ("a**", "abc/d", true),
        ("a**/b", "ax/b", true),
        ("*.txt", "a/b.txt", false),
        ("a.b", "axb", false),
        ("a+(b)", "a+(b)", true),
        ("x]", "x]", true),
        ("[ab]x", "bx", true),
        ("y[^0-9]", "y1", false),
        ("f?.txt", "f12.txt", false),
    ] {
        assert_eq!(listed(&[pattern], path), expected, "{pattern} {path}");
    }
}

#[test]
fn the_last_match_decides_and_folders_take_what_is_below() {
    for (patterns, path, expected) in [
        (&["node_modules"][..], "node_modules/a/b", true),
        (&["*/cache"], "app/deep/cache/y", false),
        (&["*/cache"], "app/cache/y", true),
        (&["*", "!keep"], "keep/c/d", false),
        (&["*", "!keep"], "other/e", true),
        (&["dir", "!dir/sub/keep.txt"], "dir/sub/keep.txt", false),
        (&["dir", "!dir/sub/keep.txt"], "dir/sub/no.txt", true),
        (&["!dir/keep", "dir"], "dir/keep", true),
        (&["a", "!a", "a/b"], "a/b/c", true),
        // An exception that does not change the verdict for the folder is not matched again below.
        (&["*/x", "!dir"], "dir/x", true),
    ] {
        assert_eq!(listed(patterns, path), expected, "{patterns:?} {path}");
    }
}

#[test]
fn folders_are_entered_only_where_something_may_match() {
    let list = PatternList::new(["*", "!sub/deep/*.go", "!keep.txt"]).unwrap();
    for (folder, expected) in
        [("sub", true), ("sub/deep", true), ("sub/other", false), ("x", false), ("", true)]
    {
        assert_eq!(list.may_match_below(folder.as_bytes(), true), expected, "{folder}");
    }
    assert!(PatternList::new(["**/x"]).unwrap().may_match_below(b"a/b", false));
}

#[test]
fn a_folder_that_no_exception_can_reach_is_left_alone() {
    for (pattern, folder, expected) in [
        ("file*", "closed", false),
        ("file*", "file1", false),
        ("*", "closed", false),
        ("*/*.go", "closed", true),
        ("*/*.go", "closed/deep", false),
        ("c*/x?/[a-c]/*", "closed/xy/b", true),
        ("c*/x?/[a-c]/*", "closed/xy/d", false),
        ("c*/x?/[a-c]/*", "open", false),
        ("a/b/c", "a", true),
        ("a/b/c", "a/b", true),
        ("a/b/c", "a/bc", false),
        ("a/b/c", "a/b/c", false),
        ("src/**", "src/deep/er", true),
        ("src/**", "other", false),
        ("src/**/x", "src/deep/er", true),
        ("src/**/x", "srcs", false),
        ("**/x", "any/where", true),
        ("**", "any/where", true),
        ("\\*x/y", "*x", true),
        ("\\*x/y", "ax", false),
    ] {
        let list = PatternList::new(["*", &format!("!{pattern}")]).unwrap();
        assert_eq!(list.may_match_below(folder.as_bytes(), true), expected, "{pattern} {folder}");
    }
}

/// Where nothing may match, nothing does: all patterns of a few parts against all paths of a few.
#[test]
fn a_match_below_a_folder_is_never_missed() {
    let parts = ["a", "b", "*", "a*", "?", "[ab]", "**", "**a", "a**"];
    let names = ["a", "b", "ab"];
    let join = |parts: &[&str]| parts.join("/");
    for first in parts {
        for second in parts {
            for pattern in [first.to_owned(), join(&[first, second]), join(&[first, "b", second])] {
                let list = PatternList::new([&pattern]).unwrap();
                for x in names {
                    for y in names {
                        for path in [join(&[x, y]), join(&[x, y, "a"]), join(&[x, "b", y, "b"])] {
                            let hit = list.matches(path.as_bytes(), &Matched::default()).0;
                            let ends = path.match_indices('/').map(|(at, _)| at);
                            for folder in ends.map(|at| &path.as_bytes()[..at]) {
                                let may = list.may_match_below(folder, false);
                                assert!(may || !hit, "{pattern} {path}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_ignore_file_is_read_line_by_line() {
    let rules = IgnoreRules::parse(
        "\u{feff}a.txt\r\n# b\n#c\n\n  \n #d\n/abs/e\n! keep\nf/\n./g\nh/../i\n!/n\n".as_bytes(),
    )
    .unwrap()
    .0;
    for (path, expected) in [
        ("a.txt", true),
        ("b", false),
        ("#c", false),
        ("#d", true),
        ("abs/e", true),
        ("f", true),
        ("g", true),
        ("i", true),
        ("h", false),
    ] {
        assert_eq!(rules.matches_path(path.as_bytes()).0, expected, "{path}");
    }
    assert!(rules.has_exceptions());
    let slash = IgnoreRules::parse(b"n\n!/n\n").unwrap().0;
    assert!(!slash.matches_path(b"n").0, "the slash behind the ! goes too");
    let error = IgnoreRules::parse(b"# c\n\na\n!\n").unwrap_err();
    assert_eq!((error.line, error.error), (4, PatternError::LoneNegation));
    let error = IgnoreRules::parse(b"[a").unwrap_err();
    assert!(matches!((error.line, error.error), (1, PatternError::Syntax { .. })));
}

#[test]
fn paths_are_cleaned_as_go_does() {
    for (path, expected) in [
        ("", "."),
        ("a//b/./c/", "a/b/c"),
        ("../a/..", ".."),
        ("/../a", "/a"),
        ("a/../../b", "../b"),
        ("/", "/"),
    ] {
        assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
    }
}

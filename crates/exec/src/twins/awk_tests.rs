//! Tests of what the starter thinks of awk programs.

use super::awk::is_plain;

#[test]
fn programs_that_do_not_compute_are_plain() {
    for text in [
        "",
        "{print $1}",
        "{ print $NF }",
        "/^ID=/ { gsub(/\"/, \"\"); print substr($0, 4); exit }",
        "!seen[$0]++",
        "NR > 1 && $2 ~ /a\\/b/ { n += 1 } END { print n + 0 }",
        "{ print $1 / 1024, $2*8, NF - 1, $(NF-1) }",
        "BEGIN { x = -1; printf \"%d %s %5.2f %%\\n\", x, \"a/b*c\", 0.5 }",
        "BEGIN { while ((getline line < \"/etc/passwd\") > 0) print line }",
        "# a comment: 0/0\n{ print }",
        "$1 == \"x\" || /[a-z]+/ { print length($0) }",
        "function f(a, b) { return a \"-\" b } { print f($1, $2) }",
        "{ $1 = $1 ? toupper($1) : $2; --i; ++j; print rand() < 2, int(3.7) }",
    ] {
        assert!(is_plain(text.as_bytes()), "{text}");
    }
}

#[test]
fn programs_that_may_compute_are_not() {
    for text in [
        "{ print $1 / $2 }",
        "BEGIN { print 0/0 }",
        "BEGIN { print 0 / 00 }",
        "{ s += $1 } END { print s }",
        "{ print $1 - $2 }",
        "BEGIN { print -log(0) }",
        "BEGIN { print log (2) }",
        "{ print $1 * 0 }",
        "{ print $1 % 3 }",
        "BEGIN { print 2^0.5 }",
        "BEGIN { print 2**3 }",
        "BEGIN { x **= 2 }",
        "{ x /= $1 }",
        "{ print 1 - 1e999 }",
        "{ print $1 - 9999999999999999 }",
        "BEGIN { printf \"%x\", -1 }",
        "BEGIN { printf(\"%-08.3lu\", -1) }",
        "BEGIN { printf \"\\045x\", -1 }",
        "BEGIN { f = \"%\"; printf f \"x\", -1 }",
        "BEGIN { x = sprintf($1, -1) }",
        "BEGIN { OFMT = \"%o\"; print 1.5 }",
        // Where a regular expression ends, and whether one begins, is not sure.
        "{ print /5\"/ 0/0 /\"/ }",
        "/[/]/ { print }",
        "/unfinished",
        "BEGIN { print \"unfinished }",
        "{ print $1 \\\n / 2 }",
        "{ print $1 - x }",
    ] {
        assert!(!is_plain(text.as_bytes()), "{text}");
    }
}

#[test]
fn every_text_has_an_answer() {
    let texts = ["\"", "/", "%", "\\", "+", "-", "a", "1", "[", "]", " ", "\n", "#", "*", "^"];
    for first in texts {
        for second in texts {
            for third in texts {
                let _ = is_plain([first, second, third].concat().as_bytes());
            }
        }
    }
}

//! The script for fish.

/// The script. The word under the cursor is asked about without its quotes. Where the program has no
/// answer, and for words with a tilde, fish completes files, also behind a `=`.
const SCRIPT: &str = r#"
function __xbuild_complete
    set -l token (commandline --current-token)
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    if not string match --quiet -- '~*' $token
        set -l word (string unescape -- $token; or string trim --left --chars '"\'' -- $token)
        set -l answers (VARIABLE=fish xbuild -- $before "$word" 2>/dev/null)
        if set --query answers[1]
            printf '%s\n' $answers
            return
        end
    end
    if test (count $before) -gt 1
        set -l parts (string match --regex -- '^((?:.*=)?)(.*)$' $token)
        for path in (complete --do-complete "'' $parts[3]")
            printf '%s%s\n' "$parts[2]" $path
        end
    end
end
complete --command xbuild --no-files --keep-order --arguments '(__xbuild_complete)'
"#;

/// Returns the script; `variable` asks for completions.
pub(super) fn script(variable: &str) -> String {
    SCRIPT.trim_start().replace("VARIABLE", variable)
}

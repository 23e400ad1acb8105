//! The script for zsh, as a file that zsh loads when it is needed, or that is sourced.

/// The script. Words are asked about without their quotes. Where the program has no answer, and for words
/// with a tilde, zsh completes files, also behind a `=`.
const SCRIPT: &str = r#"
#compdef xbuild
_xbuild() {
    local word=${(Q)PREFIX} line
    local -a lines folders others
    if [[ $word != \~* ]]; then
        lines=("${(@f)$(VARIABLE=zsh _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) \
            xbuild -- "${(@Q)words[1,CURRENT-1]}" "$word" 2>/dev/null)}")
    fi
    for line in $lines; do
        if [[ $line == */ ]]; then
            folders+=("${line%/}")
        else
            others+=("$line")
        fi
    done
    if (( $#folders + $#others )); then
        (( $#folders )) && _describe -V folders folders -S / -q
        (( $#others )) && _describe -V values others
        return 0
    fi
    if (( CURRENT > 2 )); then
        compset -P '*='
        _files
    fi
}

if [[ $funcstack[1] == _xbuild ]]; then
    _xbuild "$@"
else
    compdef _xbuild xbuild
fi
"#;

/// Returns the script; `variable` asks for completions.
pub(super) fn script(variable: &str) -> String {
    SCRIPT.trim_start().replace("VARIABLE", variable)
}

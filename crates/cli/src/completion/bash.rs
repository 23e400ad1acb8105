//! The script for bash, which splits words at `=` and `:`.

/// The script. The words that bash splits are joined where the line has no blank between them; of the
/// answers, bash is given what stands behind the last `=` or `:`.
const SCRIPT: &str = r#"
_xbuild() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() index word blanks
    for ((index = 0; index <= COMP_CWORD; index++)); do
        blanks=${rest%%[![:space:]]*}
        rest=${rest#"$blanks"}
        word=${COMP_WORDS[index]}
        if ((index == COMP_CWORD)); then
            word=$rest
        fi
        rest=${rest#"$word"}
        if [[ $index == 0 || -n $blanks ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
    done
    local last=$((${#words[@]} - 1)) IFS=$'\n'
    local current=${words[last]} kept= breaks=
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
    [[ -n $breaks && $current == *[$breaks]* ]] && kept=${current%"${current##*[$breaks]}"}
    COMPREPLY=($(VARIABLE=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$last xbuild -- "${words[@]}" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    if [[ ${COMPREPLY-} == *[=/:,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o nosort -F _xbuild xbuild 2>/dev/null ||
    complete -o bashdefault -F _xbuild xbuild
"#;

/// Returns the script; `variable` asks for completions.
pub(super) fn script(variable: &str) -> String {
    SCRIPT.trim_start().replace("VARIABLE", variable)
}

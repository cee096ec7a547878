"""The scripts by which bash, zsh and fish complete a command line; they ask `tui.cli.completion`."""

_BASH = """\
_assay() {
    local IFS=$'\\n' line
    COMPREPLY=()
    while read -r line; do
        COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_ASSAY_COMPLETE=bash assay "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
    return 0
}
complete -o default -F _assay assay
"""
_ZSH = """\
#compdef assay
_assay() {
    local -a found
    found=("${(@f)$(_ASSAY_COMPLETE=zsh assay "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then _describe assay found; else _files; fi
}
compdef _assay assay
"""
_FISH = """\
complete -c assay -f -a '(env _ASSAY_COMPLETE=fish assay (commandline -cp | string collect) 2>/dev/null)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

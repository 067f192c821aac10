#!/bin/sh
# From intake to report: a folder of pictures, enhanced so that every step can be shown and done again.
#
#   sh docs/case.sh SOURCE CASE_FOLDER CASE_ID EXAMINER
#
# SOURCE is only read. Run again after whatever stopped it (power, disk, Ctrl-C), it goes on where it was.
# MODEL=crm sh docs/case.sh ... takes another model; `lowlight models list` names them. Beside each result stands that
# of clahe, of gamma where clahe is the model.
# Ends with 0 if all went well and was verified, 1 if some pictures failed or something is not as the log says.
set -eu
[ $# -eq 4 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
source=$1 case=$2 id=$3 examiner=$4
command -v lowlight > /dev/null || { echo "There is no lowlight on the PATH: activate its environment." >&2; exit 127; }
[ -n "$(find -L "$source" -type f | head -n 1)" ] || { echo "There are no files in $source." >&2; exit 3; }
above=$case
while [ ! -d "$above" ]; do above=$(dirname "$above"); done
case $(cd "$above" && pwd -P)/ in
"$(cd "$source" && pwd -P)"/*) echo "$case lies in $source, which is only read: choose another folder." >&2; exit 2 ;;
esac
if [ -d "$case" ]; then
    case $(cd "$source" && pwd -P)/ in
    "$(cd "$case" && pwd -P)"/*) echo "$source lies in $case: choose another folder for the case." >&2; exit 2 ;;
    esac
fi

step() { printf '\n== %s\n' "$1"; }

step "Intake: a working copy, its hashes, compared with the source"
mkdir -p "$case"
if [ ! -e "$case/originals.sha256" ]; then
    [ ! -e "$case/originals" ] ||
        { echo "$case/originals is of no intake of this script: choose another folder for the case." >&2; exit 2; }
    [ ! -e "$case/originals.copying" ] || chmod -R u+w "$case/originals.copying"
    rm -rf "$case/originals.copying" # of an intake that was stopped
    cp -RpL "$source" "$case/originals.copying" # what links lead to is copied, too: the case has all of it
    (cd "$case/originals.copying" && find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2) > "$case/originals.part"
    mv "$case/originals.part" "$case/originals.sha256"
fi
[ -e "$case/originals" ] || mv "$case/originals.copying" "$case/originals"
chmod -R a-w "$case/originals" 2> /dev/null || : # somebody else may own it, and has done so
(cd "$source" && sha256sum --quiet --strict --check) < "$case/originals.sha256"
[ "$(find -L "$source" -type f | wc -l)" -eq "$(find "$case/originals" -type f | wc -l)" ] ||
    { echo "$source has other files than at intake: begin a new case for them." >&2; exit 1; }
echo "$(wc -l < "$case/originals.sha256") files, the same here and there"
hidden=$(cd "$case/originals" && find . -path '*/.*' -type f | wc -l)
[ "$hidden" -eq 0 ] || echo "$hidden hidden files among them: kept and hashed, not enhanced"

step "Enhancement: logged, lossless, without network; a classical method beside each result"
code=0 model=${MODEL:-neid} baseline=clahe
[ "$model" != clahe ] || baseline=gamma
lowlight enhance "$case/originals" --out "$case/enhanced" --skip-existing --evidence "$case/log.jsonl" \
    --case "$id" --examiner "$examiner" --model "$model" --baseline "$baseline" || code=$?
case $code in 0) ;; 1 | 6) code=1 ;; *) exit "$code" ;; esac # 1, 6: some or all pictures failed, and it is logged

step "Verification: chain and files, and every picture made again"
lowlight verify "$case/log.jsonl" --rerun || code=1
(cd "$source" && sha256sum --quiet --strict --check) < "$case/originals.sha256"

step "Report"
lowlight report "$case/log.jsonl" --out "$case/report.html" --overwrite || code=1

step "The head of the log's chain: write it down, on paper or in another system"
tail -n 1 "$case/log.jsonl" | tr -d '\n' | sha256sum | cut -d ' ' -f 1
exit "$code"

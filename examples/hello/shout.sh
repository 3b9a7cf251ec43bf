# The same words in capital letters: shout.sh IN OUT
set -eu
tr '[:lower:]' '[:upper:]' < "$1" > "$2"
echo "shouted into $2"

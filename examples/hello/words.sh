# Write a few words, one a line: words.sh OUT
set -eu
printf '%s\n' huginn muninn sleipnir huginn gungnir > "$1"
echo "wrote $(wc -l < "$1") words to $1"

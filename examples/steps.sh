# What the examples share; they source it before their first line of work.

fail() {
  echo "error: $*" >&2
  exit 2
}

say() {
  printf '\n== %s\n' "$*"
}

run() {
  printf '   %s\n' "$*"
  "$@"
}

# In a clone, what `make setup` made is used; elsewhere chunked-vla must be on the PATH.
find_chunked_vla() {
  local environment
  environment=$(dirname -- "${BASH_SOURCE[0]}")/../.venv/environment.sh
  if ! command -v chunked-vla > /dev/null; then
    [ -f "$environment" ] || fail 'chunked-vla is not installed: run `make setup` first'
    # shellcheck disable=SC1090
    . "$environment"
  fi
}

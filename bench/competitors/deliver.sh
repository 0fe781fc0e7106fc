# The remote half of the bare script: $1 is the folder of the TLS files, stdin a tar of a generation with SHA256SUMS.
set -eu
cd "$1"
umask 077
rm -rf .staged
mkdir .staged
tar -xf - -C .staged
sync .staged/*
(cd .staged && sha256sum --check --quiet SHA256SUMS)
rm .staged/SHA256SUMS
mkdir -p backup
for file in .staged/*; do
    cp -p "${file#.staged/}" backup/
done
for file in .staged/*; do
    mv -f "$file" "${file#.staged/}"
done
rmdir .staged
sync . backup/*
nodetool reloadssl

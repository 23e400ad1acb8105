# Fetches a distribution's compilers for another architecture, and its cross compilers for it.
#
# usage: fetch.sh OUT ARCHITECTURE TRIPLET LOADER, with the names that Debian has for the architecture. It runs
# as root in the image for this machine, whose changes nobody keeps. OUT gets
#
#     versions       a line for each pair of packages: name and version of the architecture's own, name and
#                    version of the cross one; "none" for a version that there is not
#     there/PATH     the architecture's own programs
#     here/PATH      the cross ones, under the same paths, and the plugin of the linker
#     lib/NAME       the libraries of the cross ones
#     ld.so          their loader
#
# and versions alone if these differ.
set -eu
out=$1 architecture=$2 triplet=$3 loader=$4
own=$(dpkg --print-architecture)
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

apt() {
    apt-get -q -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

candidate() {
    version=$(apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
    case $version in
        '' | '(none)') echo none ;;
        *) echo "$version" ;;
    esac
}

# Lists of other architectures are left alone.
dpkg --add-architecture "$architecture"
apt update
number=$(apt-cache show "cpp:$architecture" | sed -n 's/^Depends:.*cpp-\([0-9][0-9]*\).*/\1/p' | sed 1q)
if [ -z "$number" ]; then
    echo "the archives that apt knows here have no package cpp for $architecture" >&2
    exit 1
fi
# Names of packages have no underscores.
suffix=$(echo "$triplet" | tr _ -)
theirs= ours= alike=yes
for name in "cpp-$number" "g++-$number" "gcc-$number" binutils; do
    cross=$name-$suffix
    # The architecture's own compiler has the name of the cross one from GCC 13 on.
    native=$cross
    [ "$(candidate "$native:$architecture")" != none ] || native=$name
    native_version=$(candidate "$native:$architecture") cross_version=$(candidate "$cross:$own")
    echo "$native $native_version $cross $cross_version" >> "$out/versions"
    [ "${cross_version%cross[0-9]*}" = "${native_version%+b[0-9]*}" ] || alike=no
    [ "$name" = "gcc-$number" ] || theirs="$theirs $native:$architecture"
    ours="$ours $cross:$own"
done
[ $alike = yes ] || exit 0

# The libraries of cc1plus are those of cc1, whose package needs no headers.
apt install -y --no-install-recommends "cpp-$number-$suffix:$own" "binutils-$suffix:$own"
work=$(mktemp -d)
mkdir "$work/here" "$work/there"
(cd "$work/here" && apt download $ours)
(cd "$work/there" && apt download $theirs)
for side in here there; do
    for package in "$work/$side"/*.deb; do
        dpkg-deb -x "$package" "$work/$side"
    done
done

mkdir -p "$out/lib"
cd "$work/there"
find . -type f '(' -name cc1 -o -name cc1plus -o -name "$triplet-as" -o -name "$triplet-ld.bfd" ')' > "$work/programs"
while read -r program; do
    program=${program#./}
    cross=$work/here/$(echo "$program" | sed 's|/gcc/|/gcc-cross/|')
    mkdir -p "$out/there/${program%/*}" "$out/here/${program%/*}"
    cp -p "$work/there/$program" "$out/there/$program"
    cp -p "$cross" "$out/here/$program"
    for library in $(ldd "$cross" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'); do
        cp -L "$library" "$out/lib/"
    done
done < "$work/programs"
cd "$work/here"
find . -type f -path '*/gcc-cross/*/liblto_plugin.so' | while read -r plugin; do
    plugin=${plugin#./}
    cp -p "$plugin" "$out/here/$(echo "$plugin" | sed 's|/gcc-cross/|/gcc/|')"
done
cp -L "/$loader" "$out/ld.so"
chmod -R a+rX "$out"

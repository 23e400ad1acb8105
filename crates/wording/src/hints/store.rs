//! The store.

hints! {
    name_root() = "name a folder with --root or XBUILD_ROOT";
    choose_root() = "choose a folder with --root";
    choose_another_root() = "choose another folder with --root";
    root_of_root(root) = "name a folder of root's with --root or XBUILD_ROOT, or set HOME; --root \
        {root} takes this one all the same";
    store_of_this_version() = "give --root another folder, or use the xbuild that made the store";
    empty_folder() = "give --root a new or an empty folder";
    own_store() = "each user has a store of their own: give --root another folder";
    closed_folder() = "builds would trust what others put there: give --root another folder, or close \
        this one with chmod go-w after a look at what is in it";
    folder_in_the_way() = "remove it; to keep the store elsewhere name that place with --root";
    case_of_names() = "layers may have both files: name a folder on another file system with --root, or \
        an empty one after chattr -F";
    when_it_has_ended() = "try again when it has ended";
    damaged_store() = "the damaged file is gone; when the cause above is settled, build again. If files \
        of the store are damaged again, its disk or memory is failing: put the store on another disk \
        with --root";
    damaged_blob() = "the damaged file is gone: pull the image or build it again, which makes the file anew. If \
        files of the store are damaged again, its disk or memory is failing: put the store on another disk \
        with --root";
    overlay_store() = "put the store on a file system of a disk, not on an overlay mount or a network \
        file system (--root, XBUILD_ROOT); before Linux 5.11, use a newer kernel";
    read_only_store() = "the file system of the store is mounted read-only: name a folder on another one with \
        --root or XBUILD_ROOT";
    lockless_store() = "the file system of the store does not lock files, as network file systems without \
        their lock service: name a folder on a disk of this machine with --root or XBUILD_ROOT";
    writable_store() = "put the store where xbuild can write, with --root or XBUILD_ROOT";
}

use std::process::Command;

use super::*;
use crate::limits::LARGE;
use crate::{Change, HashedContents, Hashing, IndexedWriter, Kind, LayerIndex, LayerReader, Meta};

/// A file of zeros but for some bytes.
struct Holey {
    size: u64,
    position: u64,
    data: Vec<(u64, Vec<u8>)>,
    /// Whether it says where its holes are, and lets them be skipped.
    is_mapped: bool,
}

impl Holey {
    fn new(size: u64, data: &[(u64, &[u8])]) -> Self {
        let data = data.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect();
        Self { size, position: 0, data, is_mapped: true }
    }

    fn next(&self) -> u64 {
        let ends = self.data.iter().filter(|(at, bytes)| at + bytes.len() as u64 > self.position);
        ends.map(|(at, _)| *at).next().unwrap_or(self.size)
    }
}

impl Read for Holey {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.size - self.position).unwrap());
        buffer[..count].fill(0);
        for (at, bytes) in &self.data {
            for (at, byte) in (*at..).zip(bytes) {
                if (self.position..self.position + count as u64).contains(&at) {
                    buffer[usize::try_from(at - self.position).unwrap()] = *byte;
                }
            }
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Contents for Holey {
    fn skip_hole(&mut self) -> io::Result<u64> {
        let next = if self.is_mapped { self.next().max(self.position) } else { self.position };
        let count = next - self.position;
        self.position = next;
        Ok(count)
    }

    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        let mut segments: Vec<Segment> = Vec::new();
        for (at, bytes) in &self.data {
            let offset = at / HOLE * HOLE;
            let end = (at + bytes.len() as u64).next_multiple_of(HOLE).min(self.size);
            segments.push(Segment { offset, length: end - offset });
        }
        Ok(self.is_mapped.then_some(segments))
    }
}

fn file(size: u64) -> Entry {
    Entry { path: b"d/log".to_vec(), kind: Kind::File { size }, meta: Meta::default() }
}

fn written(contents: &mut Holey) -> Result<Vec<u8>, LayerError> {
    let mut writer = LayerWriter::new(Vec::new());
    writer.put_contents(&file(contents.size), contents)?;
    writer.finish()
}

const TERABYTE: u64 = 1 << 40;

#[test]
fn large_holes_take_no_room_and_are_read_again() {
    for (size, data) in [
        (TERABYTE, &[][..]),
        (TERABYTE, &[(0, &b"begin"[..])]),
        (TERABYTE + 77, &[(TERABYTE + 70, b"the end")]),
        (LARGE + 5 * HOLE, &[(3 * HOLE + 9, b"middle"), (7 * HOLE, b"more")]),
    ] {
        let archive = written(&mut Holey::new(size, data)).unwrap();
        assert!(archive.len() as u64 <= (data.len() as u64 + 1) * HOLE, "{}", archive.len());
        let mut layer = LayerReader::new(&archive[..]);
        let Some(Change::Put(entry)) = layer.next().unwrap() else { panic!() };
        assert_eq!(entry, file(size));
        let mut buffer = vec![0; BUFFER];
        let found = Hashing::new(&mut layer, size).read_all(&mut buffer).unwrap();
        let expected = Hashing::new(Holey::new(size, data), size).read_all(&mut buffer).unwrap();
        assert_eq!(found, expected);
        assert!(expected.segments.is_some());
        layer.finish().unwrap();
    }
}

#[test]
fn small_holes_are_written_out() {
    let mut contents = Holey::new(LARGE + HOLE, &[(0, b"x"), (5 * HOLE, b"y")]);
    let mut size = Count(0);
    let mut writer = LayerWriter::new(&mut size);
    writer.put_contents(&file(contents.size), &mut contents).unwrap();
    writer.finish().unwrap();
    assert_eq!(size.0, LARGE + HOLE + 3 * BLOCK as u64);
}

/// Counts bytes.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn contents_that_cannot_skip_give_the_same_bytes() {
    let contents = || Holey::new(LARGE + 9 * HOLE, &[(2 * HOLE + 5, b"x")]);
    let expected = written(&mut contents()).unwrap();
    let segments = contents().segments().unwrap();
    let plain = Holey { is_mapped: false, ..contents() };
    let mut writer = LayerWriter::new(Vec::new());
    let entry = file(LARGE + 9 * HOLE);
    writer.put_contents(&entry, &mut crate::Mapped::new(plain, segments)).unwrap();
    assert!(writer.finish().unwrap() == expected);
    // A byte in an announced hole is not lost in silence.
    let changed = Holey { is_mapped: false, ..Holey::new(LARGE + 9 * HOLE, &[(0, b"x")]) };
    let segments = contents().segments().unwrap();
    let mut writer = LayerWriter::new(Vec::new());
    let result = writer.put_contents(&entry, &mut crate::Mapped::new(changed, segments));
    assert!(matches!(result, Err(LayerError::SizeChanged { .. })));
}

/// Row 18 of the threat table: writer and reader have the same bounds.
#[test]
fn what_is_written_is_not_refused() {
    let mut writer = LayerWriter::new(Vec::new());
    for _ in 0..16 {
        let mut contents = Holey::new(TERABYTE, &[]);
        writer.put_contents(&file(TERABYTE), &mut contents).unwrap();
    }
    let result = writer.put_contents(&file(TERABYTE), &mut Holey::new(TERABYTE, &[]));
    assert!(matches!(result, Err(LayerError::Entry { fault: EntryFault::Holes, .. })));
    let mut tar = crate::TarReader::new(&writer.output[..]);
    for _ in 0..16 {
        assert!(tar.next().unwrap().is_some());
    }
}

#[test]
fn a_map_has_a_bounded_length() {
    let every_other = |count: u64| {
        (0..count).map(|at| Segment { offset: 2 * at * HOLE, length: HOLE }).collect::<Vec<_>>()
    };
    let few = every_other(100);
    assert_eq!(coarsen(few.clone()), few);
    let mut many = every_other(3 * MAX_WRITTEN_SEGMENTS as u64);
    many.push(Segment { offset: TERABYTE, length: HOLE });
    let [first, last] = coarsen(many)[..] else { panic!() };
    assert_eq!((first.offset, last.offset), (0, TERABYTE));
    let full = every_other(MAX_WRITTEN_SEGMENTS as u64);
    assert!(map(&full, i64::MAX as u64).len() < 1 << 20);
}

#[test]
fn an_index_knows_the_holes() {
    let data = [(7 * HOLE, &b"x"[..])];
    let mut writer = IndexedWriter::new(Vec::new(), 2);
    writer.put(&file(LARGE + HOLE * 9), &mut Holey::new(LARGE + HOLE * 9, &data), None).unwrap();
    let mut buffer = vec![0; BUFFER];
    let known = Hashing::new(Holey::new(TERABYTE, &data), TERABYTE).read_all(&mut buffer).unwrap();
    let HashedContents { hash, segments } = known;
    let second = Entry { path: b"e".to_vec(), ..file(TERABYTE) };
    writer.put(&second, &mut Holey::new(TERABYTE, &data), Some(hash)).unwrap();
    let (tar, index) = writer.finish().unwrap();
    assert_eq!(index, LayerIndex::of_tar(&tar[..]).unwrap());
    assert_eq!(index.segments(1), segments.as_deref());
    let mut bytes = Vec::new();
    index.encode(&mut bytes).unwrap();
    assert_eq!(LayerIndex::decode(&bytes).unwrap(), index);
}

/// Returns the output of a program; `None` if it is not there.
fn output(folder: &std::path::Path, program: &str, args: &[&str]) -> Option<String> {
    let run = Command::new(program).args(args).current_dir(folder).output().ok()?;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(String::from_utf8_lossy(&run.stdout).into_owned())
}

#[test]
fn other_programs_read_the_holes() {
    let folder = tempfile::tempdir().unwrap();
    let size = TERABYTE;
    let archive = written(&mut Holey::new(size, &[(3 * HOLE + 1, b"in the middle")])).unwrap();
    std::fs::write(folder.path().join("a.tar"), archive).unwrap();
    let check = |name: &str| {
        use std::os::linux::fs::MetadataExt as _;
        let path = folder.path().join(name);
        let stat = std::fs::metadata(&path).unwrap();
        assert_eq!(stat.st_size(), size);
        assert!(stat.st_blocks() * 512 <= 2 * HOLE);
        let mut found = [0; 13];
        let file = std::fs::File::open(&path).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, 3 * HOLE + 1).unwrap();
        assert_eq!(&found, b"in the middle");
        std::fs::remove_file(path).unwrap();
    };
    let version = Command::new("tar").arg("--version").output();
    if version.is_ok_and(|run| run.stdout.starts_with(b"tar (GNU tar)")) {
        output(folder.path(), "tar", &["-xf", "a.tar"]).unwrap();
        check("d/log");
    } else {
        eprintln!("skip: no GNU tar");
    }
    let script = "import tarfile; tarfile.open('a.tar').extractall('.')";
    match output(folder.path(), "python3", &["-W", "ignore", "-c", script]) {
        Some(_) => check("d/log"),
        None => eprintln!("skip: no Python"),
    }
}

//! Reading files with holes, without reading the holes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use xbuild_layer::{Contents, HOLE, LARGE, Segment};

/// Bytes read at a time to find out whether a piece is all zeros. Most pieces end it at the first.
const PROBE: usize = 4 << 10;

/// The contents of an open regular file.
///
/// The holes of a large file are its aligned pieces of [`HOLE`] zeros, whether the file system has
/// holes there or not: a layer must not depend on the file system that it was made on. Where the
/// file system has holes, they are not read.
#[derive(Debug)]
pub(crate) struct FileContents<'f> {
    file: &'f File,
    size: u64,
    position: u64,
    /// The parts that are not holes; `None` until a large file was looked through.
    segments: Option<Vec<Segment>>,
}

impl<'f> FileContents<'f> {
    /// Reads a file of `size` bytes from its beginning.
    pub(crate) fn new(file: &'f File, size: u64) -> Self {
        Self { file, size, position: 0, segments: None }
    }

    /// Returns where the next data begin, and where they end; twice the end of the file if there
    /// are none.
    fn next_data(&mut self) -> io::Result<(u64, u64)> {
        let segments = match &mut self.segments {
            Some(segments) => segments,
            segments => segments.insert(segments_of(self.file, self.size)?),
        };
        let at = segments.partition_point(|part| part.offset + part.length <= self.position);
        let next = segments.get(at).map(|part| (part.offset, part.offset + part.length));
        Ok(next.unwrap_or((self.size, self.size)))
    }
}

impl Read for FileContents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Bytes beyond the size that was announced are read, so that they are noticed.
        if self.size < LARGE || self.position >= self.size {
            let count = self.file.read_at(buffer, self.position)?;
            self.position += count as u64;
            return Ok(count);
        }
        let (data, end) = self.next_data()?;
        let is_hole = self.position < data;
        let left = if is_hole { data } else { end } - self.position;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = if is_hole {
            buffer[..most].fill(0);
            most
        } else {
            self.file.read_at(&mut buffer[..most], self.position)?
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl Contents for FileContents<'_> {
    fn skip_hole(&mut self) -> io::Result<u64> {
        if self.size < LARGE || self.position >= self.size {
            return Ok(0);
        }
        let (data, _) = self.next_data()?;
        let count = data.saturating_sub(self.position);
        self.position += count;
        Ok(count)
    }

    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        if self.size < LARGE {
            return Ok(None);
        }
        self.next_data()?;
        let found = self.segments.clone().unwrap_or_default();
        let stored: u64 = found.iter().map(|part| part.length).sum();
        Ok((self.size - stored >= LARGE).then_some(found))
    }
}

/// Returns the parts of a file that are not holes. Neighbours are one.
fn segments_of(file: &File, size: u64) -> io::Result<Vec<Segment>> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut at = 0;
    while at < size {
        let data = next_data(file, at)?.min(size);
        let next = if data == size { size } else { data - data % HOLE };
        if next > at {
            at = next;
            continue;
        }
        let end = (at + HOLE).min(size);
        if !is_zero(file, at, end)? {
            match segments.last_mut() {
                Some(last) if last.offset + last.length == at => last.length += end - at,
                _ => segments.push(Segment { offset: at, length: end - at }),
            }
        }
        at = end;
    }
    Ok(segments)
}

/// Returns where the data begin that come next at or after `at`. A file system without holes has
/// data everywhere.
fn next_data(file: &File, at: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(data),
        Err(Errno::NXIO) => Ok(u64::MAX),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(at),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns whether a part of a file is all zeros. A file that has become shorter is not.
fn is_zero(file: &File, at: u64, end: u64) -> io::Result<bool> {
    let mut buffer = [0; PROBE];
    let mut position = at;
    while position < end {
        let most = usize::try_from(end - position).unwrap_or(PROBE).min(PROBE);
        match file.read_at(&mut buffer[..most], position) {
            Ok(0) => return Ok(false),
            Ok(count) if buffer[..count].iter().any(|&byte| byte != 0) => return Ok(false),
            Ok(count) => position += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Returns whether two files of `size` bytes have the same bytes.
pub(crate) fn same_contents(a: &File, b: &File, size: u64) -> io::Result<bool> {
    /// Bytes compared at a time.
    const BUFFER: usize = 64 << 10;

    let mut sides = [FileContents::new(a, size), FileContents::new(b, size)];
    if size >= LARGE {
        let [left, right] = &mut sides;
        left.next_data()?;
        right.next_data()?;
        if left.segments != right.segments {
            return Ok(false);
        }
    }
    let mut buffers = [vec![0; BUFFER], vec![0; BUFFER]];
    let [left, right] = &mut sides;
    while left.position < size {
        // The holes are the same.
        if left.skip_hole()? > 0 {
            right.position = left.position;
            continue;
        }
        let most = usize::try_from(size - left.position).unwrap_or(BUFFER).min(BUFFER);
        let [ours, theirs] = &mut buffers;
        let count = match left.read(&mut ours[..most]) {
            Ok(0) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        match right.read_exact(&mut theirs[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if ours[..count] != theirs[..count] {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use xbuild_layer::Hashing;

    use super::*;

    fn file(size: u64, data: &[(u64, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        data.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
        file
    }

    #[test]
    fn holes_are_pieces_of_zeros_wherever_they_come_from() {
        let size = LARGE + 8 * HOLE + 3;
        let written = vec![0; 2 * HOLE as usize];
        for zeros in [&[][..], &written] {
            let file = file(size, &[(3 * HOLE, zeros), (5 * HOLE - 1, b"ab"), (size - 1, b"c")]);
            let mut contents = FileContents::new(&file, size);
            let expected = [
                Segment { offset: 4 * HOLE, length: 2 * HOLE },
                Segment { offset: size - 3, length: 3 },
            ];
            assert_eq!(contents.segments().unwrap().unwrap(), expected);
            let skipped = Hashing::new(contents, size).read_all(&mut [0; 100]).unwrap();
            assert_eq!(skipped.segments.unwrap(), expected);
        }
    }

    #[test]
    fn holes_that_are_read_are_zeros() {
        let size = LARGE + 2 * HOLE;
        let file = file(size, &[(size - 2, b"x")]);
        let mut contents = FileContents::new(&file, size);
        contents.position = size - HOLE - 3;
        let mut bytes = Vec::new();
        contents.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, HOLE + 3);
        assert!(bytes.ends_with(b"x\0") && bytes.iter().filter(|&&byte| byte != 0).count() == 1);
    }

    #[test]
    fn a_terabyte_is_compared_at_once() {
        let size = 1 << 40;
        let one = file(size, &[(7 << 30, b"same")]);
        for (data, expected) in [
            (&[(7 << 30, &b"same"[..])][..], true),
            (&[(7 << 30, b"samE")], false),
            (&[(7 << 30, b"same"), (size - 1, b"x")], false),
            (&[(7 << 30, b"same"), (size - 1, b"\0")], true),
            (&[], false),
        ] {
            assert_eq!(same_contents(&one, &file(size, data), size).unwrap(), expected, "{data:?}");
        }
        assert!(!same_contents(&file(10, &[]), &file(10, &[(3, b"x")]), 10).unwrap());
        assert!(same_contents(&file(10, &[(3, b"x")]), &file(10, &[(3, b"x")]), 10).unwrap());
        assert!(!same_contents(&file(9, &[]), &file(10, &[]), 10).unwrap());
    }
}

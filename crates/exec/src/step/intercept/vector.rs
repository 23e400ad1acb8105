//! The arguments of the emulator, as they are written into the memory of the thread that becomes it.

use super::abi::Abi;

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A new text, without NUL.
    Text(Vec<u8>),
    /// A text that is in the thread's memory already.
    At(u64),
}

/// The bytes to be written at the address that they were made for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vector {
    pub(super) bytes: Vec<u8>,
    /// The address of the list of pointers.
    pub(super) list: u64,
    /// The address of an empty text.
    pub(super) empty: u64,
}

/// Returns an upper bound of the bytes of a vector.
pub(super) fn size(words: &[Word], rest: usize) -> u64 {
    let texts = words.iter().map(|word| match word {
        Word::Text(text) => text.len() as u64 + 1,
        Word::At(_) => 0,
    });
    texts.sum::<u64>() + 1 + 16 + 8 * (words.len() as u64 + rest as u64 + 1)
}

/// Lays out `words`, then the pointers `rest`, for the address `base`.
pub(super) fn lay_out(base: u64, abi: Abi, words: &[Word], rest: &[u64]) -> Vector {
    let mut bytes = vec![0];
    let mut pointers = Vec::with_capacity(words.len() + rest.len() + 1);
    for word in words {
        pointers.push(match word {
            Word::At(address) => *address,
            Word::Text(text) => {
                let address = base + bytes.len() as u64;
                bytes.extend_from_slice(text);
                bytes.push(0);
                address
            }
        });
    }
    pointers.extend_from_slice(rest);
    pointers.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let list = base + bytes.len() as u64;
    for pointer in pointers {
        bytes.extend_from_slice(&pointer.to_le_bytes()[..abi.pointer()]);
    }
    Vector { bytes, list, empty: base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_to_texts_and_end_in_zero() {
        let words = [Word::Text(b"qemu".to_vec()), Word::At(0x77), Word::Text(Vec::new())];
        for (abi, width) in [(Abi::Native, 8), (Abi::Compat, 4)] {
            let vector = lay_out(0x1000, abi, &words, &[0x88, 0x99]);
            assert!(vector.bytes.len() as u64 <= size(&words, 2));
            let text = |address: u64| {
                let bytes = &vector.bytes[(address - 0x1000) as usize..];
                bytes.split(|byte| *byte == 0).next().unwrap().to_vec()
            };
            let list = &vector.bytes[(vector.list - 0x1000) as usize..];
            let pointers: Vec<u64> = list
                .chunks(width)
                .map(|part| part.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
                .collect();
            assert_eq!(pointers.len(), 6, "{abi:?}");
            assert_eq!(pointers[1], 0x77);
            assert_eq!(pointers[3..], [0x88, 0x99, 0]);
            assert_eq!(text(pointers[0]), b"qemu");
            assert_eq!(text(pointers[2]), b"");
            assert_eq!(text(vector.empty), b"");
            assert_eq!(vector.list % 8, 0);
        }
    }
}

//! The microarchitecture level of an amd64 CPU.
//!
//! Source: x86-64 psABI, "Micro-architecture levels"; flag names as in Linux's `/proc/cpuinfo`.

/// The flags that each level adds, from level 2 on.
const LEVELS: [&[&str]; 3] = [
    &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
    &["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"],
    &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/// Returns the level of this machine's CPU, 1 to 4; 1 if the level is unknown.
pub(super) fn amd64_level() -> u32 {
    std::fs::read_to_string("/proc/cpuinfo").map_or(1, |text| level(&text))
}

fn level(cpuinfo: &str) -> u32 {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let list = line.and_then(|line| line.split_once(':')).map_or("", |(_, flags)| flags);
    let flags: Vec<&str> = list.split_whitespace().collect();
    let has_all = |wanted: &&&[&str]| wanted.iter().all(|flag| flags.contains(flag));
    1 + LEVELS.iter().take_while(has_all).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_needs_all_below() {
        let info = |levels: &[usize]| {
            let flags: Vec<&str> = levels.iter().flat_map(|l| LEVELS[*l]).copied().collect();
            format!("processor\t: 0\nflags\t\t: fpu {}\nbugs\t\t: x\n", flags.join(" "))
        };
        for (levels, expected) in [
            (&[][..], 1),
            (&[0][..], 2),
            (&[0, 1][..], 3),
            (&[0, 1, 2][..], 4),
            (&[0, 2][..], 2),
            (&[1, 2][..], 1),
        ] {
            assert_eq!(level(&info(levels)), expected, "{levels:?}");
        }
        assert_eq!(level(""), 1);
    }
}

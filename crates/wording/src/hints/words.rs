//! Words that are near to what was written, and how hints are joined.

hints! {
    did_you_mean(word) = "did you mean {word}?";
    did_you_mean_stage(name) = "did you mean the stage {name}?";
    try_again() = "try again";
    both(first, second) = "{first}; {second}";
    either(first, second) = "{first}; or {second}";
}

use super::*;

#[test]
fn chooses_what_git_would() {
    let answer = "1\trefs/heads/v1\n2\trefs/tags/v1\n3\trefs/tags/v1^{}\n4\trefs/heads/x/v1\n";
    let found = |answer: &str, name| choose(answer, name).map(|found| (found.commit, found.name));
    let expect = |commit: &str, name: &str| Some((commit.to_owned(), Some(name.to_owned())));
    assert_eq!(found(answer, Some("v1")), expect("1", "refs/heads/v1"));
    assert_eq!(found(answer, Some("tags/v1")), expect("3", "refs/tags/v1"));
    let annotated = choose(answer, Some("refs/tags/v1")).unwrap();
    assert_eq!((&*annotated.commit, annotated.object()), ("3", "2"));
    assert_eq!(found(answer, Some("refs/heads/v1")), expect("1", "refs/heads/v1"));
    assert_eq!(found(answer, Some("heads/v1")), expect("1", "refs/heads/v1"));
    assert_eq!(found(answer, Some("x/v1")), expect("4", "refs/heads/x/v1"));
    assert_eq!(found(answer, Some("1")), None);
    assert_eq!(found("5\tHEAD\n", None), expect("5", "HEAD"));
    assert_eq!(found("ref: refs/heads/m\tHEAD\n5\tHEAD\n", None), expect("5", "refs/heads/m"));
    assert_eq!(found("", None), None);
}

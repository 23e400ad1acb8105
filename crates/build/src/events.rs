//! What a build tells while it is under way.

/// Takes what a build tells, from several threads.
pub trait Events: Send + Sync {
    /// Takes what the user should know; text of images and Dockerfiles is in it as it is.
    fn warning(&self, text: &str);

    /// Takes what was done.
    fn note(&self, text: &str);
}

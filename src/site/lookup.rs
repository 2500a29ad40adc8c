//! Lookup of a target: a file, a directory to list, or a redirect.

use std::borrow::Cow;

use super::SiteSession;
use super::refusal::Refusal;
use crate::files::dir::OpenDir;
use crate::files::file::OpenFile;
use crate::files::root::{Node, Root};
use crate::proto::target::{RelPath, Target};
use crate::proto::why::Why;

/// The result of a lookup.
pub enum Found<'t> {
    /// A file and its path, which for an index file differs from the target's.
    File(Cow<'t, RelPath>, OpenFile),
    /// A directory without an index file, if listings are on.
    Listing(OpenDir),
    /// A directory whose target lacks the final slash.
    Redirect,
}

impl SiteSession<'_> {
    /// Finds the file or directory of the target.
    pub fn lookup<'t>(&self, target: &'t Target<'_>) -> Result<Found<'t>, Refusal> {
        if target.path.is_hidden() && !self.site.hidden {
            return Err(Why::NotFound.into());
        }
        let root = self.root()?;
        if target.ends_in_slash {
            return self.lookup_directory(root, target);
        }
        match self.site.files.open(root, &target.path)? {
            Node::File(file) => Ok(Found::File(Cow::Borrowed(&target.path), file)),
            Node::Dir(_) => Ok(Found::Redirect),
        }
    }

    fn lookup_directory<'t>(&self, root: &Root, target: &Target<'_>) -> Result<Found<'t>, Refusal> {
        for name in &self.site.index {
            let path = target.path.join(name);
            if let Some(file) = self.site.files.open_file(root, &path)? {
                return Ok(Found::File(Cow::Owned(path), file));
            }
        }
        match root.open(&target.path)? {
            Node::Dir(dir) if self.site.list => Ok(Found::Listing(dir)),
            Node::Dir(_) => Err(Why::ListingOff.into()),
            // A file's name with a slash names nothing.
            Node::File(_) => Err(Why::NotFound.into()),
        }
    }
}

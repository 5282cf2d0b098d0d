//! Files that are not what their names say: what a failed download or an unfetched repository leaves in place of data.
//!
//! A portal that wants a login answers with a web page, git-lfs and git-annex keep small pointers where a file's content
//! was not fetched. Each is told by its first bytes, before any reader calls it damaged: every reader of the crate opens
//! its file through [`super::Mapped`] or [`read_text`], and both look here.

use std::path::Path;

use crate::error::{Error, Result};

/// As much of a file as is looked at.
const HEAD: usize = 4096;

/// The content of a text file that belongs to the input, without a byte order mark.
///
/// # Errors
/// [`Error::Input`] where it is missing, no UTF-8, or something else in its place.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::opening(path, e))?;
    if let Some(error) = told(path, &bytes) {
        return Err(error);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|_| Error::input(path, "is no UTF-8 text"))
}

/// Refuses a file that is something else in place of data, by the beginning of its content.
///
/// # Errors
/// [`Error::Input`] that says what it is.
pub fn demand_data(path: &Path, beginning: &[u8]) -> Result<()> {
    told(path, beginning).map_or(Ok(()), Err)
}

/// The error for a file that is something else in place of data, by its content.
pub(crate) fn told(path: &Path, content: &[u8]) -> Option<Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let head = &content[..content.len().min(HEAD)];
    if head.starts_with(b"version https://git-lfs.github.com/spec/")
        || head.starts_with(b"version https://hawser.github.com/spec/")
    {
        let text = String::from_utf8_lossy(head);
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse::<u64>().ok());
        let of = size.map_or(String::new(), |size| format!(": the file itself, of {size} bytes, was not fetched"));
        let hint = format!("fetch it, in its repository: `git lfs pull --include \"*{name}\"`");
        return Some(Error::input(path, format!("is a pointer of git-lfs{of}")).hint(hint));
    }
    if head.starts_with(b"/annex/objects/") {
        return Some(annexed(path));
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let lower = text.to_ascii_lowercase();
    let begins = |with: &[&[u8]]| with.iter().any(|with| lower.starts_with(with));
    let page = begins(&[b"<!doctype html", b"<html", b"<head", b"<body"])
        || begins(&[b"<?xml", b"<!--"]) && lower.windows(5).any(|part| part == b"<html");
    let hint = "look at it in a browser: often it asks for a login, or says that the address or the quota is at its end; \
                then fetch the file again";
    if page {
        let title = between(text, b"<title>", b"</title>");
        let title = title.map_or(String::new(), |title| format!(", titled `{title}`,"));
        return Some(Error::input(path, format!("is a web page{title} in place of the file")).hint(hint));
    }
    if begins(&[b"<?xml", b"<error>"]) && lower.windows(7).any(|part| part == b"<error>") {
        let code = between(text, b"<Code>", b"</Code>").map_or(String::new(), |code| format!(", `{code}`,"));
        let problem = format!("is a server's message of an error{code} in place of the file");
        return Some(Error::input(path, problem).hint(hint));
    }
    None
}

/// The error for a link to content that git-annex did not fetch, or for any link that leads nowhere.
pub(crate) fn dangling(path: &Path) -> Option<Error> {
    // A folder above may be the link.
    let link = path.ancestors().find(|at| at.is_symlink())?;
    let target = std::fs::read_link(link).ok()?;
    if target.to_string_lossy().contains("annex/objects/") {
        return Some(annexed(path));
    }
    if link == path {
        return Some(Error::input(path, format!("is a link to `{}`, which does not exist", target.display())));
    }
    None
}

fn annexed(path: &Path) -> Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Error::input(path, "is a pointer of git-annex: the content of the file was not fetched")
        .hint(format!("fetch it, in its repository: `git annex get {name}`, or `datalad get {name}`"))
}

/// What stands between two marks, on one line and not too long.
fn between(text: &[u8], open: &[u8], close: &[u8]) -> Option<String> {
    let find = |text: &[u8], mark: &[u8]| text.windows(mark.len()).position(|part| part.eq_ignore_ascii_case(mark));
    let begin = find(text, open)? + open.len();
    let end = begin + find(&text[begin..], close)?;
    let inner = String::from_utf8_lossy(&text[begin..end]);
    let inner = inner.split_whitespace().collect::<Vec<_>>().join(" ");
    (!inner.is_empty()).then(|| inner.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Mapped;

    fn refused(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        crate::durable::write(&path, content).unwrap();
        let error = Mapped::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), crate::ExitCode::Input);
        assert_eq!(read_text(&path).unwrap_err().to_string(), error.to_string());
        format!("{error} {}", error.hint_text().unwrap_or_default())
    }

    #[test]
    fn what_stands_in_place_of_data_is_named_for_what_it_is() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234567\n";
        let told = refused(lfs);
        assert!(told.contains("is a pointer of git-lfs: the file itself, of 1234567 bytes"), "{told}");
        assert!(told.contains("git lfs pull --include \"*x.h5\""), "{told}");
        let told = refused(b"/annex/objects/SHA256E-s9--00.h5\n");
        assert!(told.contains("git-annex") && told.contains("git annex get x.h5"), "{told}");
        let told = refused(b"\xef\xbb\xbf\n <!DOCTYPE HTML><html><head><title>Sign\n in</title>");
        assert!(told.contains("is a web page, titled `Sign in`, in place of the file"), "{told}");
        assert!(refused(b"<?xml version=\"1.0\"?><html xmlns=\"\"><p>").contains("is a web page in place"));
        let told = refused(b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>");
        assert!(told.contains("a server's message of an error, `AccessDenied`,"), "{told}");
    }

    #[test]
    fn data_is_left_to_its_reader() {
        let folder = tempfile::tempdir().unwrap();
        for content in [&b""[..], b"id,x\n1,2\n", b"\x89HDF\r\n\x1a\n", b"<", b"{}", b"<?xml version=\"1.0\"?><gdml/>"]
        {
            let path = folder.path().join("x");
            crate::durable::write(&path, content).unwrap();
            assert_eq!(Mapped::open(&path).unwrap().bytes(), content);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_to_content_that_is_not_here_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &str| {
            let path = folder.path().join(name);
            std::os::unix::fs::symlink(to, &path).unwrap();
            let error = Mapped::open(&path).unwrap_err();
            format!("{error} {}", error.hint_text().unwrap_or_default())
        };
        let told = link("a.csv", ".git/annex/objects/Xx/1/SHA256E-s9--0.csv/SHA256E-s9--0.csv");
        assert!(told.contains("git annex get a.csv"), "{told}");
        assert!(link("b.csv", "/nowhere/b.csv").contains("is a link to `/nowhere/b.csv`, which does not exist"));
    }
}

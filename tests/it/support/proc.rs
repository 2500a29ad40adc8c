//! The kernel's view of a process, read from /proc.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// A process by its id.
#[derive(Clone, Copy)]
pub struct Proc(pub u32);

impl Proc {
    /// Reads one of its files, such as `status`.
    #[track_caller]
    pub fn read(self, file: &str) -> String {
        fs::read_to_string(self.at(file)).expect("the process runs")
    }

    /// Returns a value of `status`, such as `VmRSS:`, without its unit.
    #[track_caller]
    pub fn status(self, name: &str) -> String {
        field(&self.read("status"), name).trim_end_matches(" kB").to_owned()
    }

    /// Returns a number of `status`; of memory in KiB.
    #[track_caller]
    pub fn number(self, name: &str) -> usize {
        self.status(name).parse().expect("a number")
    }

    /// Counts its threads.
    #[track_caller]
    pub fn threads(self) -> usize {
        self.thread_ids().len()
    }

    /// Lists its threads.
    #[track_caller]
    pub fn thread_ids(self) -> Vec<OsString> {
        fs::read_dir(self.at("task")).expect("the process runs").flatten().map(|task| task.file_name()).collect()
    }

    /// Reads a file of each thread, such as `stat` or `comm`; a thread that ends meanwhile is left out.
    #[track_caller]
    pub fn of_threads(self, file: &str) -> Vec<String> {
        let tasks = fs::read_dir(self.at("task")).expect("the process runs").flatten();
        tasks.filter_map(|task| fs::read_to_string(task.path().join(file)).ok()).collect()
    }

    /// Reports whether every thread is in this state, such as `S` for asleep and `T` for stopped.
    #[track_caller]
    pub fn is_all(self, state: char) -> bool {
        let stats = self.of_threads("stat");
        stats.iter().all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state)))
    }

    /// Counts its descriptors.
    #[track_caller]
    pub fn descriptors(self) -> usize {
        fs::read_dir(self.at("fd")).expect("the process runs").count()
    }

    /// Reports whether it has a descriptor of this number.
    pub fn has_descriptor(self, number: u64) -> bool {
        fs::symlink_metadata(self.at(&format!("fd/{number}"))).is_ok()
    }

    /// Lists the targets of its descriptors: paths, and names such as `socket:[123]`.
    #[track_caller]
    pub fn open_files(self) -> Vec<PathBuf> {
        let links = fs::read_dir(self.at("fd")).expect("the process runs").flatten();
        links.filter_map(|link| fs::read_link(link.path()).ok()).collect()
    }

    /// Reports whether it has a listening TCP socket over IPv4.
    #[track_caller]
    pub fn listens(self) -> bool {
        let open = self.open_files();
        let table = fs::read_to_string("/proc/net/tcp").expect("the kernel has the table");
        let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut inodes = columns.filter(|line| line.get(3) == Some(&"0A")).filter_map(|line| line.get(9).copied());
        inodes.any(|inode| open.iter().any(|file| file.as_os_str() == format!("socket:[{inode}]").as_str()))
    }

    /// Returns its processor time, in hundredths of a second.
    #[track_caller]
    pub fn ticks(self) -> u64 {
        let stat = self.read("stat");
        let (_, numbers) = stat.rsplit_once(')').expect("the name is in brackets");
        let numbers: Vec<_> = numbers.split_whitespace().collect();
        // Fields 14 and 15 of proc(5); the third is the first one here.
        [11, 12].iter().map(|at| numbers[*at].parse::<u64>().expect("a number of ticks")).sum()
    }

    /// Returns the path of one of its files.
    pub fn at(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0))
    }
}

/// Returns the value behind this name in a file of /proc.
#[track_caller]
pub fn field<'f>(file: &'f str, name: &str) -> &'f str {
    file.lines().find_map(|line| line.strip_prefix(name)).expect("the line exists").trim()
}

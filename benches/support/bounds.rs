//! What this machine can do at best in each part of the job, measured in the same run.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use libdeflater::{CompressionLvl, Compressor};
use mysql_async::prelude::Queryable;
use portal_backup::demo::tables::TABLES;

use super::portal::Portal;
use super::{Result, mysql, peers, shell};

const FRAME: usize = 4 << 20;

pub struct Bounds {
    /// Writing one file from beginning to end, with fsync: bytes a second.
    pub disk_write: f64,
    /// Reading the portal's files from the cache.
    pub file_read: f64,
    /// libdeflate's level 1, frames of 4 MiB of everything, one thread a core.
    pub compression: f64,
    pub cores: usize,
    /// SELECT of all tables over one connection, without doing anything with the rows.
    pub select: Duration,
    /// The size of `mariadb-dump`'s output, in bytes.
    pub sql_bytes: u64,
}

pub fn measure(portal: &Portal, work: &Path) -> Result<Bounds> {
    eprintln!("what bounds it: disk, compression, database");
    let dump = work.join("x.sql");
    shell(work, &format!("{} > x.sql", peers::dump_command(portal)))?;
    let mut frames = Vec::new();
    let began = Instant::now();
    read_frames(&portal.files, &mut frames)?;
    let read: usize = frames.iter().map(Vec::len).sum();
    let file_read = read as f64 / began.elapsed().as_secs_f64();
    read_file(&dump, &mut frames)?;
    let (compression, cores) = compress(&frames)?;
    Ok(Bounds {
        disk_write: write_to_disk(&work.join("disk"), &frames)?,
        file_read,
        compression,
        cores,
        select: select_all(&portal.database)?,
        sql_bytes: fs::metadata(&dump)?.len(),
    })
}

fn read_frames(dir: &Path, frames: &mut Vec<Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read_frames(&entry.path(), frames)?;
        } else {
            read_file(&entry.path(), frames)?;
        }
    }
    Ok(())
}

fn read_file(path: &Path, frames: &mut Vec<Vec<u8>>) -> Result<()> {
    let mut file = File::open(path)?;
    loop {
        let mut frame = Vec::new();
        if Read::take(&mut file, FRAME as u64).read_to_end(&mut frame)? == 0 {
            return Ok(());
        }
        frames.push(frame);
    }
}

fn compress(frames: &[Vec<u8>]) -> Result<(f64, usize)> {
    let cores = std::thread::available_parallelism()?.get();
    let level = CompressionLvl::new(1).map_err(|_| "libdeflate has no level 1")?;
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for first in 0..cores {
            scope.spawn(move || {
                let mut compressor = Compressor::new(level);
                let mut out = vec![0; compressor.gzip_compress_bound(FRAME)];
                for frame in frames.iter().skip(first).step_by(cores) {
                    assert!(compressor.gzip_compress(frame, &mut out).is_ok());
                }
            });
        }
    });
    Ok((bytes as f64 / began.elapsed().as_secs_f64(), cores))
}

fn write_to_disk(path: &Path, frames: &[Vec<u8>]) -> Result<f64> {
    let began = Instant::now();
    let mut file = File::create(path)?;
    let mut bytes = 0;
    for frame in frames {
        file.write_all(frame)?;
        bytes += frame.len();
    }
    file.sync_all()?;
    let speed = bytes as f64 / began.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(speed)
}

/// How long it takes to read a database once, by one connection.
pub fn select_all(database: &str) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = mysql_async::Conn::from_url(mysql::url(database)).await?;
        let began = Instant::now();
        for table in TABLES {
            let mut rows = connection.query_iter(format!("select * from {}", table.name)).await?;
            while rows.next().await?.is_some() {}
            drop(rows);
        }
        let length = began.elapsed();
        connection.disconnect().await?;
        Ok(length)
    })
}

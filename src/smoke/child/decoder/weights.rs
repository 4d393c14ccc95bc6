//! Weights on their way from the file into a multiplication.
//!
//! A matrix is read in blocks of rows; while one is multiplied with, the next is read. Blocks are forgotten, so that a
//! model of any size runs in little memory. Small models are kept, because generating reads them once for each token.

use std::{cell::RefCell, collections::HashMap, sync::mpsc, thread};

use candle_core::{D, Device, Error, Result, Tensor};

use super::kernel::{self, Width};
use crate::{
    formats::TensorEntry,
    smoke::child::{
        overlay::Overlay,
        plan::{Matrix, Vector},
        stored::Stored,
        tensors::Tensors,
    },
};

/// Elements of a block: few enough to stay in the processor's cache, enough to multiply well.
const BLOCK: usize = 1 << 20;

/// The weights of one model, with what is laid over them.
pub(in crate::smoke::child) struct Weights<'a> {
    tensors: &'a Tensors,
    overlay: &'a Overlay,
    /// Whole matrices by tensor and first row, when all of them fit in memory.
    kept: Option<RefCell<HashMap<(String, usize), Tensor>>>,
}

impl<'a> Weights<'a> {
    /// Reads from these tensors; keeps them if they take at most this many bytes in f32.
    pub(in crate::smoke::child) fn new(tensors: &'a Tensors, overlay: &'a Overlay, memory: u64) -> Self {
        let fits = tensors.parameters().saturating_mul(4) <= memory;
        Self { tensors, overlay, kept: fits.then(RefCell::default) }
    }

    /// `x · Wᵀ + b` for `x` of `[tokens, cols]`.
    pub(super) fn linear(&self, matrix: &Matrix, x: &Tensor) -> Result<Tensor> {
        let product = if matrix.transposed {
            self.transposed(matrix, x)?
        } else if self.kept.is_some() {
            x.matmul(&self.whole(matrix)?.t()?)?
        } else {
            let mut parts = Vec::new();
            self.row_blocks(matrix, x, |_, part| {
                parts.push(part);
                Ok(())
            })?;
            Tensor::cat(&parts, D::Minus1)?
        };
        self.add_bias(matrix, product)
    }

    pub(super) fn add_bias(&self, matrix: &Matrix, product: Tensor) -> Result<Tensor> {
        match &matrix.bias {
            Some(bias) => product.broadcast_add(&self.vector(bias)?),
            None => Ok(product),
        }
    }

    /// Gives the product with each block of the matrix's rows, `[tokens, rows]`, and the number of its first row.
    pub(super) fn row_blocks(
        &self,
        matrix: &Matrix,
        x: &Tensor,
        mut take: impl FnMut(usize, Tensor) -> Result<()>,
    ) -> Result<()> {
        let (entry, stored) = self.stored(&matrix.name)?;
        let tokens = x.dim(0)?;
        let few = tokens <= kernel::FEW && !self.overlay.touches(&matrix.name);
        let width = Width::named(entry.dtype).filter(|_| few);
        let flat: Vec<f32> = if width.is_some() { x.flatten_all()?.to_vec1()? } else { Vec::new() };
        self.each_block(entry, stored, matrix.first, matrix.rows, matrix.cols, |row, bytes| {
            let rows = bytes.len() / stored.bytes(matrix.cols).max(1);
            let part = match width {
                Some(width) => {
                    let product = kernel::multiply(width, bytes, &flat, matrix.cols);
                    Tensor::from_vec(product, (tokens, rows), &Device::Cpu)?
                }
                None => {
                    let block = self.widen(entry, stored, matrix.first + row, rows, matrix.cols, bytes)?;
                    x.matmul(&block.t()?)?
                }
            };
            take(row, part)
        })
    }

    /// The rows of a table for these tokens; an unknown token is an error.
    pub(super) fn rows(&self, table: &Matrix, ids: &[u32]) -> Result<Tensor> {
        let (entry, stored) = self.stored(&table.name)?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let row = usize::try_from(*id).unwrap_or(usize::MAX);
            if row >= table.rows {
                return Err(Error::Msg(format!("row {id} is not among the {} of `{}`", table.rows, table.name)));
            }
            let bytes = self.read(entry, stored, row, 1, table.cols)?;
            rows.push(self.widen(entry, stored, row, 1, table.cols, &bytes)?);
        }
        Tensor::cat(&rows, 0)
    }

    /// Numbers as a tensor of one dimension.
    pub(super) fn vector(&self, vector: &Vector) -> Result<Tensor> {
        let key = (vector.name.clone(), vector.start);
        if let Some(tensor) = self.kept.as_ref().and_then(|kept| kept.borrow().get(&key).cloned()) {
            return Ok(tensor);
        }
        let (entry, stored) = self.stored(&vector.name)?;
        let last = entry.shape.last().copied().unwrap_or(1);
        // Numbers of a matrix come in rows; of anything else, in one.
        let cols = match usize::try_from(last) {
            Ok(cols)
                if cols > 0
                    && vector.start.is_multiple_of(cols)
                    && vector.length.is_multiple_of(cols)
                    && !stored.is_plain() =>
            {
                cols
            }
            _ => vector.length.max(1),
        };
        let (row, rows) = (vector.start / cols, vector.length / cols);
        let bytes = self.read(entry, stored, row, rows, cols)?;
        let tensor = self.widen(entry, stored, row, rows, cols, &bytes)?.flatten_all()?;
        if let Some(kept) = &self.kept {
            kept.borrow_mut().insert(key, tensor.clone());
        }
        Ok(tensor)
    }

    /// Numbers as they are.
    pub(super) fn numbers(&self, vector: &Vector) -> Result<Vec<f32>> {
        self.vector(vector)?.to_vec1()
    }

    /// `x · W` for a matrix stored as inputs by outputs: a sum over blocks of inputs.
    fn transposed(&self, matrix: &Matrix, x: &Tensor) -> Result<Tensor> {
        if self.kept.is_some() {
            return x.matmul(&self.whole(matrix)?);
        }
        let (entry, stored) = self.stored(&matrix.name)?;
        let mut sum: Option<Tensor> = None;
        self.each_block(entry, stored, matrix.first, matrix.cols, matrix.rows, |row, bytes| {
            let rows = bytes.len() / stored.bytes(matrix.rows).max(1);
            let block = self.widen(entry, stored, matrix.first + row, rows, matrix.rows, bytes)?;
            let part = x.narrow(1, row, rows)?.contiguous()?.matmul(&block)?;
            sum = Some(match sum.take() {
                Some(sum) => (sum + part)?,
                None => part,
            });
            Ok(())
        })?;
        sum.ok_or_else(|| Error::Msg(format!("matrix `{}` is empty", matrix.name)))
    }

    /// A whole matrix as it is stored.
    fn whole(&self, matrix: &Matrix) -> Result<Tensor> {
        let key = (matrix.name.clone(), matrix.first);
        if let Some(tensor) = self.kept.as_ref().and_then(|kept| kept.borrow().get(&key).cloned()) {
            return Ok(tensor);
        }
        let (rows, cols) = if matrix.transposed { (matrix.cols, matrix.rows) } else { (matrix.rows, matrix.cols) };
        let (entry, stored) = self.stored(&matrix.name)?;
        let bytes = self.read(entry, stored, matrix.first, rows, cols)?;
        let tensor = self.widen(entry, stored, matrix.first, rows, cols, &bytes)?;
        if let Some(kept) = &self.kept {
            kept.borrow_mut().insert(key, tensor.clone());
        }
        Ok(tensor)
    }

    /// Reads blocks of stored rows, one ahead of what is worked on.
    fn each_block(
        &self,
        entry: &TensorEntry,
        stored: Stored,
        first: usize,
        rows: usize,
        cols: usize,
        mut work: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let step = (BLOCK / cols.max(1)).clamp(1, rows.max(1));
        let starts = (0..rows).step_by(step);
        let tensors = self.tensors;
        thread::scope(|scope| {
            let (send, receive) = mpsc::sync_channel(1);
            let (give_back, returned) = mpsc::channel::<Vec<u8>>();
            let reader = move || {
                for row in starts {
                    let count = step.min(rows - row);
                    let mut bytes = returned.try_recv().unwrap_or_default();
                    let read = tensors.read_rows(entry, stored, first + row, count, cols, &mut bytes);
                    let failed = read.is_err();
                    if send.send(read.map(|()| (row, bytes))).is_err() || failed {
                        return;
                    }
                }
            };
            thread::Builder::new().spawn_scoped(scope, reader)?;
            for block in receive {
                let (row, bytes) = block?;
                work(row, &bytes)?;
                let _ = give_back.send(bytes);
            }
            Ok(())
        })
    }

    fn stored(&self, name: &str) -> Result<(&'a TensorEntry, Stored)> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::Msg(format!("tensor `{name}` is missing")))?;
        let stored = Stored::named(entry.dtype)
            .ok_or_else(|| Error::Msg(format!("tensor `{name}` has dtype {}, which is not run", entry.dtype)))?;
        Ok((entry, stored))
    }

    fn read(&self, entry: &TensorEntry, stored: Stored, row: usize, rows: usize, cols: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.tensors.read_rows(entry, stored, row, rows, cols, &mut bytes)?;
        Ok(bytes)
    }

    /// Stored rows in f32, with what is laid over them.
    fn widen(
        &self,
        entry: &TensorEntry,
        stored: Stored,
        row: usize,
        rows: usize,
        cols: usize,
        bytes: &[u8],
    ) -> Result<Tensor> {
        let mut values = Vec::with_capacity(rows * cols);
        stored.decode(bytes, &mut values);
        if values.len() != rows * cols {
            return Err(Error::Msg(format!("tensor `{}` does not divide into rows of {cols}", entry.name)));
        }
        if self.overlay.touches(&entry.name) {
            self.overlay.apply(&entry.name, row, cols, &mut values).map_err(Error::Msg)?;
        }
        Tensor::from_vec(values, (rows, cols), &Device::Cpu)
    }
}

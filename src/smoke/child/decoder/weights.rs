//! Weights on their way from the file into a multiplication.

use std::{cell::RefCell, collections::HashMap};

use candle_core::{D, DType, Device, Error, Result, Tensor};

use crate::smoke::child::{plan::Matrix, tensors::Tensors};

/// Elements that are read and widened at once: few enough to stay in the processor's cache, enough to multiply well.
const BLOCK: usize = 1 << 20;

pub(super) struct Weights<'a> {
    tensors: &'a Tensors,
    /// Whole tensors, when all of them fit in memory.
    kept: Option<RefCell<HashMap<String, Tensor>>>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(tensors: &'a Tensors, memory: u64) -> Self {
        let fits = tensors.parameters().saturating_mul(4) <= memory;
        Self { tensors, kept: fits.then(RefCell::default) }
    }

    /// `x · Wᵀ + b`.
    pub(super) fn linear(&self, matrix: &Matrix, x: &Tensor) -> Result<Tensor> {
        let product = match &self.kept {
            Some(_) => x.matmul(&self.whole(&matrix.name, &[matrix.rows, matrix.cols])?.t()?)?,
            None => self.streamed(matrix, x)?,
        };
        match &matrix.bias {
            Some(bias) => product.broadcast_add(&self.vector(bias)?),
            None => Ok(product),
        }
    }

    /// The rows of an embedding for these tokens; an unknown token is an error.
    pub(super) fn rows(&self, matrix: &Matrix, ids: &[u32]) -> Result<Tensor> {
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let row = usize::try_from(*id).unwrap_or(usize::MAX);
            if row >= matrix.rows {
                return Err(Error::Msg(format!("token {id} is not among the {} of the embedding", matrix.rows)));
            }
            rows.push(self.block(&matrix.name, row, 1, matrix.cols)?);
        }
        Tensor::cat(&rows, 0)
    }

    /// A tensor of one dimension.
    pub(super) fn vector(&self, name: &str) -> Result<Tensor> {
        let length = self.tensors.get(name).map_or(0, |entry| usize::try_from(entry.elements()).unwrap_or(0));
        self.whole(name, &[length])
    }

    fn whole(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        if let Some(tensor) = self.kept.as_ref().and_then(|kept| kept.borrow().get(name).cloned()) {
            return Ok(tensor);
        }
        let length = shape.iter().product();
        let tensor = self.block(name, 0, 1, length)?.reshape(shape)?;
        if let Some(kept) = &self.kept {
            kept.borrow_mut().insert(name.to_owned(), tensor.clone());
        }
        Ok(tensor)
    }

    fn streamed(&self, matrix: &Matrix, x: &Tensor) -> Result<Tensor> {
        let step = (BLOCK / matrix.cols.max(1)).max(1);
        let mut parts = Vec::new();
        let mut row = 0;
        while row < matrix.rows {
            let rows = step.min(matrix.rows - row);
            parts.push(x.matmul(&self.block(&matrix.name, row, rows, matrix.cols)?.t()?)?);
            row += rows;
        }
        Tensor::cat(&parts, D::Minus1)
    }

    /// Reads rows of a tensor, in f32.
    fn block(&self, name: &str, row: usize, rows: usize, cols: usize) -> Result<Tensor> {
        let missing = || Error::Msg(format!("tensor `{name}` is missing"));
        let entry = self.tensors.get(name).ok_or_else(missing)?;
        let (dtype, size) = match entry.dtype {
            "F32" => (DType::F32, 4),
            "F16" => (DType::F16, 2),
            "BF16" => (DType::BF16, 2),
            "F64" => (DType::F64, 8),
            other => return Err(Error::Msg(format!("tensor `{name}` has dtype {other}, which is not run"))),
        };
        let mut bytes = vec![0; rows * cols * size];
        let offset = (row * cols * size) as u64;
        self.tensors.read(entry, offset, &mut bytes)?;
        Tensor::from_raw_buffer(&bytes, dtype, &[rows, cols], &Device::Cpu)?.to_dtype(DType::F32)
    }
}

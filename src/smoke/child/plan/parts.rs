//! The parts that plans are made of: what a decoder has to know of a layer, whatever its family.

use std::collections::BTreeSet;

use super::Refusal;

/// A matrix that a linear layer multiplies with: `rows` outputs of `cols` inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::smoke::child) struct Matrix {
    pub(in crate::smoke::child) name: String,
    /// The first stored row, of tensors that stack several matrices.
    pub(in crate::smoke::child) first: usize,
    pub(in crate::smoke::child) rows: usize,
    pub(in crate::smoke::child) cols: usize,
    /// Stored as inputs by outputs.
    pub(in crate::smoke::child) transposed: bool,
    pub(in crate::smoke::child) bias: Option<Vector>,
}

/// A part of a tensor that is read as a list of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::smoke::child) struct Vector {
    pub(in crate::smoke::child) name: String,
    pub(in crate::smoke::child) start: usize,
    pub(in crate::smoke::child) length: usize,
}

/// How a norm computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke::child) enum NormKind {
    /// Root mean square.
    Rms,
    /// Root mean square, with weights stored less one.
    RmsPlusOne,
    /// Mean and variance.
    Layer,
    /// Mean and variance, with weights stored less one.
    LayerPlusOne,
}

/// A norm; without a weight it only normalizes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Norm {
    pub(in crate::smoke::child) kind: NormKind,
    pub(in crate::smoke::child) eps: f64,
    pub(in crate::smoke::child) weight: Option<Vector>,
    pub(in crate::smoke::child) bias: Option<Vector>,
}

/// A norm of queries or keys.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct HeadNorm {
    pub(in crate::smoke::child) kind: NormKind,
    pub(in crate::smoke::child) eps: f64,
    pub(in crate::smoke::child) scope: Scope,
    /// One weight, or one for each head.
    pub(in crate::smoke::child) weights: Vec<Vector>,
    pub(in crate::smoke::child) biases: Vec<Vector>,
    /// Applied behind the rotation.
    pub(in crate::smoke::child) after_rope: bool,
}

/// What a norm of queries or keys looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke::child) enum Scope {
    /// Each head by itself, all with the same weights.
    Head,
    /// Each head by itself, with weights of its own.
    EachHead,
    /// All heads at once.
    All,
}

/// The activation of a feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke::child) enum Activation {
    Silu,
    Gelu,
    GeluTanh,
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    Relu,
    /// The square of what is positive.
    Relu2,
    Tanh,
}

impl Activation {
    /// The activation of this name in a config.
    pub(super) fn named(name: &str) -> Result<Self, Refusal> {
        Ok(match name {
            "silu" | "swish" => Self::Silu,
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_python_tanh" | "gelu_accurate" => Self::GeluTanh,
            "quick_gelu" => Self::QuickGelu,
            "relu" => Self::Relu,
            "relu2" => Self::Relu2,
            "tanh" => Self::Tanh,
            other => return Refusal::unsupported(format!("the activation `{other}` is not supported")),
        })
    }
}

/// The projections in front of attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::smoke::child) enum Qkv {
    Separate {
        q: Matrix,
        k: Matrix,
        v: Matrix,
    },
    /// One matrix, whose outputs come in groups: of each group, so many columns of queries, then keys, then values.
    Fused {
        matrix: Matrix,
        groups: usize,
    },
}

/// Attention over what was read.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Attention {
    pub(in crate::smoke::child) heads: usize,
    pub(in crate::smoke::child) kv_heads: usize,
    pub(in crate::smoke::child) head_dim: usize,
    pub(in crate::smoke::child) qkv: Qkv,
    pub(in crate::smoke::child) q_norm: Option<HeadNorm>,
    pub(in crate::smoke::child) k_norm: Option<HeadNorm>,
    pub(in crate::smoke::child) output: Matrix,
    /// What scores are multiplied with.
    pub(in crate::smoke::child) scale: f64,
    pub(in crate::smoke::child) cap: Option<f64>,
    pub(in crate::smoke::child) clip: Option<f64>,
    pub(in crate::smoke::child) causal: bool,
    /// Keys that a query sees to either side; a causal one counts itself.
    pub(in crate::smoke::child) window: Option<usize>,
    /// Which of the plan's position embeddings applies; `None`: none.
    pub(in crate::smoke::child) rope: Option<usize>,
    /// Slopes of a bias that grows with the distance, one for each head.
    pub(in crate::smoke::child) slopes: Option<Vec<f32>>,
    /// Falcon adds its bias, in half precision, before the scores are scaled.
    pub(in crate::smoke::child) slopes_before_scale: bool,
    /// One score for each head that takes a share of the attention and gives nothing.
    pub(in crate::smoke::child) sinks: Option<Vector>,
}

/// DeepSeek's attention: queries and keys from a narrow latent state, and a part of the key that all heads share.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Latent {
    pub(in crate::smoke::child) heads: usize,
    /// Width of a query's part without and with position, and of a value.
    pub(in crate::smoke::child) plain: usize,
    pub(in crate::smoke::child) turned: usize,
    pub(in crate::smoke::child) value: usize,
    /// Directly, or down, norm and up.
    pub(in crate::smoke::child) query: (Option<(Matrix, Norm)>, Matrix),
    pub(in crate::smoke::child) down: Matrix,
    pub(in crate::smoke::child) norm: Norm,
    pub(in crate::smoke::child) up: Matrix,
    pub(in crate::smoke::child) output: Matrix,
    pub(in crate::smoke::child) scale: f64,
    pub(in crate::smoke::child) rope: usize,
}

/// LFM2's short convolution between two gates.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Conv {
    pub(in crate::smoke::child) input: Matrix,
    pub(in crate::smoke::child) kernel: Chunk,
    pub(in crate::smoke::child) output: Matrix,
}

/// A causal convolution along the tokens, each channel by itself: `[channels, 1, width]`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Chunk {
    pub(in crate::smoke::child) weight: Vector,
    pub(in crate::smoke::child) bias: Option<Vector>,
    pub(in crate::smoke::child) channels: usize,
    pub(in crate::smoke::child) width: usize,
}

/// The first Mamba's mixer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Mamba {
    pub(in crate::smoke::child) inner: usize,
    pub(in crate::smoke::child) state: usize,
    pub(in crate::smoke::child) rank: usize,
    pub(in crate::smoke::child) input: Matrix,
    pub(in crate::smoke::child) conv: Chunk,
    pub(in crate::smoke::child) select: Matrix,
    pub(in crate::smoke::child) step: Matrix,
    pub(in crate::smoke::child) a_log: Vector,
    pub(in crate::smoke::child) d: Vector,
    pub(in crate::smoke::child) output: Matrix,
    pub(in crate::smoke::child) activation: Activation,
    /// Falcon's Mamba normalizes what selects, without weights.
    pub(in crate::smoke::child) select_eps: Option<f64>,
}

/// The second Mamba's mixer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Mamba2 {
    pub(in crate::smoke::child) heads: usize,
    pub(in crate::smoke::child) head_dim: usize,
    pub(in crate::smoke::child) state: usize,
    pub(in crate::smoke::child) groups: usize,
    pub(in crate::smoke::child) input: Matrix,
    pub(in crate::smoke::child) conv: Chunk,
    pub(in crate::smoke::child) step_bias: Vector,
    pub(in crate::smoke::child) a_log: Vector,
    pub(in crate::smoke::child) d: Vector,
    pub(in crate::smoke::child) norm: Norm,
    pub(in crate::smoke::child) output: Matrix,
    pub(in crate::smoke::child) activation: Activation,
    pub(in crate::smoke::child) step_limits: (f64, f64),
}

/// What mixes a token with those before it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) enum Mixer {
    Attention(Box<Attention>),
    Latent(Box<Latent>),
    Conv(Box<Conv>),
    Mamba(Box<Mamba>),
    Mamba2(Box<Mamba2>),
}

/// The two ways of a feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::smoke::child) enum Form {
    /// Two halves behind each other: the gate, then what it opens.
    Halves,
    /// Gate and what it opens alternate, both clamped (gpt-oss).
    Alternating { limit: f64, alpha: f64 },
}

/// The feed-forward part.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) enum Mlp {
    Gated { gate: Matrix, up: Matrix, down: Matrix, activation: Activation },
    FusedGated { both: Matrix, down: Matrix, form: Form, activation: Activation },
    Plain { up: Matrix, down: Matrix, activation: Activation },
    Experts(Box<Experts>),
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Experts {
    pub(in crate::smoke::child) router: Router,
    pub(in crate::smoke::child) each: Vec<Mlp>,
    /// Experts that always run, as one.
    pub(in crate::smoke::child) shared: Option<Mlp>,
    /// How far the shared one is open.
    pub(in crate::smoke::child) shared_gate: Option<Matrix>,
}

/// How tokens choose their experts.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Router {
    pub(in crate::smoke::child) matrix: Matrix,
    pub(in crate::smoke::child) scoring: Scoring,
    pub(in crate::smoke::child) chosen: usize,
    /// Whether the weights of the chosen ones are made to sum to one.
    pub(in crate::smoke::child) normalize: bool,
    /// What they are multiplied with in the end.
    pub(in crate::smoke::child) scale: f64,
    /// Added to the scores for choosing only.
    pub(in crate::smoke::child) correction: Option<Vector>,
    /// Groups of experts, and how many of them a token may choose from.
    pub(in crate::smoke::child) groups: Option<(usize, usize)>,
    /// A group is as good as its two best, not as its best.
    pub(in crate::smoke::child) groups_by_two: bool,
}

/// How a router's outputs become weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::smoke::child) enum Scoring {
    /// Softmax over all, then the largest.
    Softmax,
    /// The largest, then softmax over them.
    SoftmaxOfChosen,
    Sigmoid,
    /// PhiMoE's: two times the largest, among those near it.
    Sparsemixer {
        jitter: f64,
    },
}

/// In which order a layer's parts follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke::child) enum Order {
    /// The feed-forward part reads what attention changed.
    Sequential,
    /// The same, and what is added to is the normed input.
    FromNormed,
    /// Both read the layer's input.
    Parallel,
    /// Norms stand behind each addition.
    Post,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Layer {
    pub(in crate::smoke::child) order: Order,
    pub(in crate::smoke::child) before_mixer: Option<Norm>,
    pub(in crate::smoke::child) mixer: Mixer,
    pub(in crate::smoke::child) after_mixer: Option<Norm>,
    pub(in crate::smoke::child) before_mlp: Option<Norm>,
    pub(in crate::smoke::child) mlp: Option<Mlp>,
    pub(in crate::smoke::child) after_mlp: Option<Norm>,
    /// What each part's result is multiplied with before it is added.
    pub(in crate::smoke::child) residual_scale: f64,
}

/// A learned table of positions.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Positions {
    pub(in crate::smoke::child) table: Matrix,
    /// The row of the first token.
    pub(in crate::smoke::child) offset: usize,
    /// A token that takes no position, but the row in front of the first (RoBERTa's padding).
    pub(in crate::smoke::child) skips: Option<u32>,
}

/// A step between the last layer and the head.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) enum Projection {
    Linear(Matrix),
    Activation(Activation),
    Norm(Norm),
}

/// What a plan noticed about the tensors.
#[derive(Debug, Default)]
pub(in crate::smoke::child) struct Found {
    pub(in crate::smoke::child) used: BTreeSet<String>,
    pub(in crate::smoke::child) missing: Vec<String>,
    pub(in crate::smoke::child) misshaped: Vec<String>,
    /// Layers that the files hold.
    pub(in crate::smoke::child) layers: usize,
}

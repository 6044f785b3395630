"""Decisions by similarity as scikit-learn's classifiers: every rule, over embeddings or over images with an encoder."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.classifiers import Rule, SupportSet, Vote, decide, named_rule, needs_unlabeled, padded_index
from fsl_explain.classifiers.local.local_features import encoder_for, rule_for
from fsl_explain.classifiers.local.rule import LocalRule
from fsl_explain.classifiers.named import RULES
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.choice import fitted_on
from fsl_explain.explainers.compared import as_batch
from fsl_explain.explainers.explaining import explain
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.support_groups import embedded
from fsl_explain.scales import compared_at
from fsl_explain.similarities import SIMILARITIES, Similarity, is_without, similarity_name

Rows = Any  # (row, channel) numbers, or with an encoder preprocessed images (row, 3, H, W)


if TYPE_CHECKING:  # scikit-learn tells type checkers nothing of its classes

    class _Estimator:
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float: ...  # noqa: N803 - scikit-learn's
else:

    class _Estimator(ClassifierMixin, BaseEstimator):
        pass


class FewShotClassifier(_Estimator):
    """Gives rows the class of the supports that are most like them, as ``explain`` decides; for scikit-learn's tools.

    Without an ``encoder``, X holds embeddings (row, channel) of any array type that scikit-learn takes. With one it
    holds preprocessed images (row, 3, H, W), and ``explain`` says why. ``rule`` and ``similarity`` are names or objects
    as for ``fsl_explain.explain``; ``similarity="mahalanobis"`` is fitted on the supports. ``scale``, above 0, is a
    factor of the scores in the softmax of ``predict_proba``. A clone shares encoder, rule and similarity, which nothing
    changes. Wrong arguments are told of when ``fit`` or a later call needs them, as is scikit-learn's custom.

    After ``fit`` there are ``classes_``, ``supports_`` (their embeddings, class by class) and, without an encoder,
    ``n_features_in_``.
    """

    def __init__(
        self,
        rule: str | Rule = "mean-similarity",
        similarity: str | Similarity = "cosine",
        *,
        encoder: Encoder | None = None,
        scale: float = 1.0,
    ) -> None:
        self.rule = rule
        self.similarity = similarity
        self.encoder = encoder
        self.scale = scale

    def __sklearn_clone__(self) -> "FewShotClassifier":
        return type(self)(**self.get_params(deep=False))

    def fit(self, X: Rows, y: Any, *, unlabeled: Rows | None = None) -> "FewShotClassifier":  # noqa: N803 - scikit-learn's
        """Keep the supports X of the classes y, one class a row; return the classifier itself.

        Linear classifiers are fitted on them at each later call. ``unlabeled`` are rows like X that are to be decided,
        for rules that look at them together, such as ``bd-cspn``. Without them these rules decide the rows that one
        call is given together.

        Raises: ``ValueError`` or ``TypeError`` for rows or classes that do not fit, or that the rule cannot take;
        ``LookupError`` for an unknown rule or similarity.
        """
        if unlabeled is not None and not needs_unlabeled(self._rule()):
            raise Mistake("unlabeled rows are for rules such as 'bd-cspn'; drop them.")
        if self.encoder is None:
            X, y = validate_data(self, X, y, dtype=np.float64)  # noqa: N806
        else:
            X, y = self._images(X), column_or_1d(y, warn=True)  # noqa: N806
            if len(X) != len(y):
                raise Mistake(f"expected a class for each of {len(X)} images, but got {len(y)}.")
        check_classification_targets(y)
        encoding = LabelEncoder().fit(y)
        self.classes_: np.ndarray = encoding.classes_
        labels = torch.from_numpy(encoding.transform(y))
        order = labels.argsort(stable=True)
        counts = labels.bincount().tolist()
        features = self._features(X, None if self.encoder is None else self.encoder.of_supports)
        rule = self._rule() if features is None else rule_for(self._rule(), features)
        self._local_ = rule if isinstance(rule, LocalRule) else None
        embeddings = self._embeddings(X, features)
        index, valid = padded_index(counts)
        names = tuple(str(name) for name in self.classes_)
        supports = SupportSet(embeddings[order][index], valid, names)
        scales = None if self.encoder is None else self.encoder.scales
        self._fitted_ = fitted_on(supports, scales) if self.similarity == "mahalanobis" else None
        self._expect_similar(embeddings)
        together = None if unlabeled is None else self._embedded(unlabeled)
        self.supports_: SupportSet = replace(supports, unlabeled=together)
        if self.encoder is not None:
            images = X[order].split(counts)
            self._images_ = dict(zip(names, images, strict=True))
        self._unlabeled_ = unlabeled
        self._decided(embeddings[:1])  # a rule that cannot take these classes or this similarity says so here
        return self

    def decision_function(self, X: Rows) -> Shaped[np.ndarray, "..."]:  # noqa: N803
        """Return what the decision is the largest of, (row, class); of two classes the lead of the second, (row,).

        Larger is more alike. A class without a vote of the nearest neighbors has minus infinity.

        Raises: ``ValueError`` before ``fit``, or for rows that do not fit.
        """
        scores = self._scores(X).numpy()
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Rows) -> Shaped[np.ndarray, "row"]:  # noqa: N803
        """Return the class of each row, the first of several with the largest score.

        Raises: ``ValueError`` before ``fit``, or for rows that do not fit.
        """
        scores = self._scores(X)
        labels = decide(scores, self.supports_.classes).label
        found: np.ndarray = self.classes_[np.asarray(labels)]
        return found

    def predict_proba(self, X: Rows) -> Float[np.ndarray, "row way"]:  # noqa: N803
        """Return the softmax of ``scale`` times the scores, or of a vote each class's share of it.

        They are in [0, 1], in the order of ``classes_``, and sum to 1 for each row.

        Raises: ``ValueError`` before ``fit``, for rows that do not fit, or a scale that is not above 0 or not finite.
        """
        if not 0 < self.scale < math.inf:
            raise Mistake(
                f"expected a scale above 0 and below infinity, but got {self.scale}; use set_params(scale=1)."
            )
        scores, rule = self._scores(X), self._rule()
        shares = rule.shares(scores) if isinstance(rule, Vote) else (self.scale * scores).softmax(dim=-1)
        found: np.ndarray = shares.numpy()
        return found

    def explain(self, X: Rows, **options: Any) -> Explanation:  # noqa: N803
        """Explain the decisions about images X as ``fsl_explain.explain`` does, with ``options`` such as ``method``.

        One image (3, H, W) may be given as well. Rule and similarity are the classifier's own.

        Raises: ``ValueError`` before ``fit``, without an encoder, or for another rule or similarity; otherwise as that.
        """
        check_is_fitted(self)
        for own in ("rule", "similarity"):
            if own in options:
                raise Mistake(f"the {own} is the classifier's own; drop it, or use set_params({own}=…) and fit again.")
        if self.encoder is None:
            raise Mistake(
                "an explanation needs the images and the network behind the embeddings; give FewShotClassifier(…, "
                "encoder=encoder) and preprocessed images."
            )
        if needs_unlabeled(self._rule()):
            options["unlabeled"] = self._images(X) if self._unlabeled_ is None else self._unlabeled_
        return explain(self.encoder, X, self._images_, rule=self.rule, similarity=self.similarity, **options)

    def _scores(self, X: Rows) -> Float[Tensor, "row way"]:  # noqa: N803
        check_is_fitted(self)
        query = self._embedded(X)
        self._expect_similar(query)
        return self._decided(query)

    def _decided(self, query: Float[Tensor, "row channel"]) -> Float[Tensor, "row way"]:
        supports = self.supports_
        rule = self._rule() if self._local_ is None else self._local_
        if needs_unlabeled(rule) and supports.unlabeled is None:
            supports = replace(supports, unlabeled=query)
        return rule.decision_scores(query, supports, self._similarity())

    def _rule(self) -> Rule:
        return named_rule(self.rule) if isinstance(self.rule, str) else RULES.find(self.rule)

    def _similarity(self) -> Similarity:
        if self._fitted_ is not None:
            return self._fitted_
        found = SIMILARITIES.find(self.similarity)
        return found if self.encoder is None else compared_at(self.encoder.scales, found)

    def _embedded(self, X: Rows) -> Float[Tensor, "row channel"]:  # noqa: N803
        """Return the embeddings of rows that are checked first."""
        if self.encoder is None:
            return self._embeddings(validate_data(self, X, dtype=np.float64, reset=False), None)
        images = self._images(X)
        return self._embeddings(images, self._features(images, self.encoder))

    def _images(self, X: Rows) -> Tensor:  # noqa: N803
        if not isinstance(self.encoder, Encoder):
            raise WrongType(f"expected an Encoder as encoder=, but got {type(self.encoder).__name__}.")
        return as_batch(X, self.encoder)

    def _features(self, X: Rows, encoder: Encoder | None) -> Features | None:  # noqa: N803
        return None if encoder is None else embedded(encoder_for(self._rule(), encoder), X).in_float64()

    def _embeddings(self, X: Rows, features: Features | None) -> Float[Tensor, "row channel"]:  # noqa: N803
        return torch.tensor(X, dtype=torch.float64) if features is None else features.embedding.cpu()

    def _expect_similar(self, embeddings: Float[Tensor, "row channel"]) -> None:
        similarity = self._similarity()
        without = is_without(similarity, embeddings)
        if bool(without.any()):
            name, first = similarity_name(similarity) or "such", int(without.nonzero()[0, 0])
            raise Mistake(f"row {first} is zero, which has no {name} similarity; leave it out.")

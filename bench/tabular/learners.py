"""What learns from a table: each at its defaults, on one thread.

A learner gets the frame as it is, or what its users do first where it cannot take that:
the README says for each. The second entry says on which tables the slow ones run.
"""

from collections.abc import Callable
from typing import Any

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

Make = Callable[[bool, int], Any]  # whether it is a regression, seed

TEXT = make_column_selector(dtype_include="category")
NUMBERS = make_column_selector(dtype_include="number")


def lamina(preset: str) -> Make:
    def make(regression: bool, seed: int) -> Any:
        from lamina.tabular import TableClassifier, TableRegressor

        kind = TableRegressor if regression else TableClassifier
        return kind(preset=preset, random_state=seed)

    return make


def lightgbm(regression: bool, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if regression else LGBMClassifier
    return kind(random_state=seed, n_jobs=1, verbose=-1)


def xgboost(regression: bool, seed: int) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBRegressor if regression else XGBClassifier
    return kind(random_state=seed, n_jobs=1, enable_categorical=True)


class CatBoost:
    """Categories are named to it as text, gaps in them as one more."""

    def __init__(self, regression: bool, seed: int) -> None:
        from catboost import CatBoostClassifier, CatBoostRegressor

        kind = CatBoostRegressor if regression else CatBoostClassifier
        self.model = kind(
            random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False
        )

    def fit(self, x: Any, y: Any) -> None:
        self.model.fit(self._named(x), y, cat_features=TEXT(x))

    def predict(self, x: Any) -> Any:
        return self.model.predict(self._named(x))

    def predict_proba(self, x: Any) -> Any:
        return self.model.predict_proba(self._named(x))

    def _named(self, x: Any) -> Any:
        return x.assign(**{c: x[c].astype(object).fillna("missing") for c in TEXT(x)})


def hist_gradient_boosting(regression: bool, seed: int) -> Any:
    from sklearn import ensemble

    name = "Regressor" if regression else "Classifier"
    return getattr(ensemble, f"HistGradientBoosting{name}")(random_state=seed)


def random_forest(regression: bool, seed: int) -> Any:
    from sklearn import ensemble

    name = "Regressor" if regression else "Classifier"
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    forest = getattr(ensemble, f"RandomForest{name}")(random_state=seed)
    return make_pipeline(
        make_column_transformer((codes, TEXT), remainder="passthrough"), forest
    )


def mlp(regression: bool, seed: int) -> Any:
    from sklearn import neural_network
    from sklearn.compose import TransformedTargetRegressor

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    name = "Regressor" if regression else "Classifier"
    net = getattr(neural_network, f"MLP{name}")(random_state=seed)
    if regression:
        net = TransformedTargetRegressor(net, transformer=StandardScaler())
    return make_pipeline(make_column_transformer((numbers, NUMBERS), (hot, TEXT)), net)


class RealMLP:
    """It takes categories with gaps; gaps in numbers become the median before."""

    def __init__(self, name: str, regression: bool, seed: int) -> None:
        import pytabkit

        kind = getattr(pytabkit, name + ("Regressor" if regression else "Classifier"))
        self.model = kind(random_state=seed, n_threads=1, device="cpu")

    def fit(self, x: Any, y: Any) -> None:
        self.medians = x[NUMBERS(x)].median()
        self.model.fit(x.fillna(self.medians), y, cat_col_names=TEXT(x))

    def predict(self, x: Any) -> Any:
        return self.model.predict(x.fillna(self.medians))

    def predict_proba(self, x: Any) -> Any:
        return self.model.predict_proba(x.fillna(self.medians))


def real_mlp(name: str) -> Make:
    return lambda regression, seed: RealMLP(name, regression, seed)


SMALL = ["phoneme", "wa_churn", "concrete", "ames"]
LEARNERS: dict[str, tuple[Make, list[str] | None]] = {
    "Lamina fast": (lamina("fast"), None),
    "Lamina": (lamina("default"), None),
    "Lamina best": (lamina("best"), None),
    "LightGBM": (lightgbm, None),
    "XGBoost": (xgboost, None),
    "HistGradientBoosting": (hist_gradient_boosting, None),
    "CatBoost": (CatBoost, None),
    "RandomForest": (random_forest, None),
    "scikit-learn MLP": (mlp, None),
    "RealMLP_TD_S": (real_mlp("RealMLP_TD_S_"), None),
    "RealMLP_TD": (real_mlp("RealMLP_TD_"), SMALL),
}

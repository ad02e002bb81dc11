"""From the source of a scalar function: that function as kernels take it, and its derivative by forward-mode dual numbers.

    def swish(z):                            def swish(z):            def swish(z, a):
        return z / (1 + math.exp(-z))   ->       v1 = -z         and      v1 = -z
                                                 v2 = exp(v1)             v2 = exp_bounded(v1)
                                                 v3 = 1 + v2              v3 = 1 + v2
                                                 v4 = z / v3              v4 = z / v3
                                                 return v4                v5 = -v2
                                                                          v6 = v4 * v5
                                                                          v7 = 1 - v6
                                                                          v8 = v7 / v3
                                                                          return v8

Every number x of the computation carries dx, its derivative with respect to z: (u v, u dv + v du) and so on; where dx is 0 whatever z
is, it is left out. What comes out calls nothing but elementary.py and refers to nothing outside: numbers that stood in globals and
closures have become literals. So its text says all about it, and names the machine code that it becomes.

Wengert 1964; Griewank and Walther 2008, section 3.1.
"""

import ast
import builtins
import functools
import hashlib
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.errors import ConfigError
from fastmlp.kernels import elementary

# Functions of one number, by the name that math, NumPy, SciPy and elementary.py share.
FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "erf", "erfc", "sin", "cos")
OTHER_NAMES = {
    "abs": (abs, math.fabs, np.abs, np.fabs),
    "min": (min, np.minimum),
    "max": (max, np.maximum),
    "power": (pow, math.pow, np.power, elementary.power),
    "square": (np.square,),
    "where": (np.where,),
    "float": (float, np.float32, np.float64),
}
SUPPORTED = f"{', '.join(FUNCTIONS)}, abs, min, max, pow, square and where"
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
MOST_CALLS = 20  # of functions inside of each other
MOST_FACTORS = 8  # a whole power up to this is a product

Atom = str | int | float  # the name of a number, or a number


class Scalar(NamedTuple):
    """A function ready for the kernels: the function, and its text."""

    function: Callable[..., float]
    text: str


class Dual(NamedTuple):
    """A number and its derivative with respect to z; None for 0."""

    value: Atom
    slope: Atom | None


def scalar(function: Any, name: str, parameters: Sequence[str], arguments: Sequence[str]) -> Scalar:
    """Return a user's function with `parameters` named, of which the result takes all, and the user's function the `arguments`.

    Raises ConfigError, which names the function and the line, for what cannot be translated.
    """
    return _translated(function, name, parameters, arguments, differentiate=False)


def derivative(function: Any, name: str, parameters: Sequence[str], arguments: Sequence[str]) -> Scalar:
    """Return the derivative of a user's function with respect to the first of its `arguments`, by dual numbers."""
    return _translated(function, name, parameters, arguments, differentiate=True)


def parameters_of(function: Any) -> list[str]:
    """Return the names of the parameters of a plain Python function; raise ConfigError for anything else."""
    function = _plain(function)
    if function is None:
        raise ConfigError("expected a Python function of numbers, such as: def swish(z): return z / (1 + exp(-z))")
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD or parameter.default is not inspect.Parameter.empty:
            raise ConfigError(f"{function.__name__}: expected plain parameters without defaults, got {parameter}")
    return list(signature.parameters)


def parameters_read(function: Any) -> set[str]:
    """Return the names of the parameters that a function reads."""
    tree = _tree_of(_plain(function))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & {argument.arg for argument in tree.args.args}


def digest(*texts: str) -> str:
    """Return a short name for the text of formulas: another one for any other text."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _translated(function: Any, name: str, parameters: Sequence[str], arguments: Sequence[str], differentiate: bool) -> Scalar:
    lowering = _Lowering(differentiate)
    given = [Dual(argument, None) for argument in arguments]
    if differentiate:
        given[0] = Dual(given[0].value, 1)
    result = lowering.call(_plain(function), given)
    returned = (0 if result.slope is None else result.slope) if differentiate else result.value
    body = [*lowering.statements, ast.Return(_node(returned))]
    module = ast.parse(f"def {name}({', '.join(parameters)}): pass")
    module.body[0].body = body  # type: ignore[attr-defined]
    whole = compile(ast.fix_missing_locations(module), f"<{name}>", "exec")
    code = next(constant for constant in whole.co_consts if isinstance(constant, types.CodeType))
    names = {used: getattr(elementary, used) for used in code.co_names if hasattr(elementary, used)}
    made = types.FunctionType(code, {**names, "__builtins__": builtins})
    made.__module__ = __name__
    return Scalar(made, ast.unparse(module))


class _Lowering:
    """Writes a function as a list of statements with one operation each."""

    def __init__(self, differentiate: bool) -> None:
        self.differentiate = differentiate
        self.statements: list[ast.stmt] = []
        self._count = 0
        self._depth = 0

    def call(self, function: types.FunctionType | None, arguments: Sequence[Dual]) -> Dual:
        """Return what a plain Python function gives for some arguments, its body written out here."""
        if function is None:
            raise ConfigError("expected a Python function of numbers")
        names = parameters_of(function)
        if len(names) != len(arguments):
            raise ConfigError(f"{function.__name__}: expected {len(arguments)} parameters, got {len(names)}")
        if self._depth == MOST_CALLS:
            raise ConfigError(f"{function.__name__}: expected no function that calls itself, got calls {MOST_CALLS} deep")
        self._depth += 1
        scope = _Scope(function)
        result = self._body(_tree_of(function).body, dict(zip(names, arguments, strict=True)), scope)
        self._depth -= 1
        return result

    def _body(self, statements: Sequence[ast.stmt], known: dict[str, Dual | None], scope: "_Scope") -> Dual:
        """Return what a list of statements returns. `known`: the local names; None for one that is not set on every way here."""
        for place, statement in enumerate(statements):
            if isinstance(statement, ast.Return):
                if statement.value is None:
                    raise scope.error(statement, "expected a number to be returned, got nothing")
                return self.number(statement.value, known, scope)
            if isinstance(statement, ast.If) and any(isinstance(node, ast.Return) for node in ast.walk(statement)):
                rest = statements[place + 1 :]
                branches = [[*branch, *rest] for branch in (statement.body, statement.orelse)]
                test = self.test(statement.test, known, scope)
                first, second = (functools.partial(self._body, branch, dict(known), scope) for branch in branches)
                return self._choice(test, first, second)
            self._statement(statement, known, scope)
        raise scope.error(None, "expected a return at the end of every way through it")

    def _statement(self, statement: ast.stmt, known: dict[str, Dual | None], scope: "_Scope") -> None:
        if isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            return
        if isinstance(statement, ast.If):
            self._if(statement, known, scope)
            return
        target, value = None, None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign):
            target, value = statement.target, statement.value
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            target = statement.target
            value = ast.copy_location(ast.BinOp(ast.Name(target.id, ast.Load()), statement.op, statement.value), statement)
        if not isinstance(target, ast.Name) or value is None:
            raise scope.error(statement, f"expected assignments to one name, if, and return, got {type(statement).__name__.lower()}")
        known[target.id] = self.number(value, known, scope)

    def _if(self, statement: ast.If, known: dict[str, Dual | None], scope: "_Scope") -> None:
        """Write an if without a return in it, and join what its two branches have set."""
        test = self.test(statement.test, known, scope)
        outer, ends, branches = self.statements, [], []
        for branch in (statement.body, statement.orelse):
            self.statements, after = [], dict(known)
            for inner in branch:
                self._statement(inner, after, scope)
            ends.append(after)
            branches.append(self.statements)
        self.statements = outer
        first, second = ends
        for name in sorted({*first, *second}):
            one, other = first.get(name), second.get(name)
            if one is None or other is None:
                known[name] = None
            elif one != other:
                known[name] = self._join(one, other, *branches)
        if branches[0] or branches[1]:
            self.statements.append(ast.If(test, branches[0] or [ast.Pass()], branches[1]))

    def _choice(self, test: ast.expr, first: Callable[[], Dual], second: Callable[[], Dual]) -> Dual:
        """Return the first number where a test holds, else the second; each is computed only where it is wanted."""
        outer = self.statements
        results: list[Dual] = []
        branches: list[list[ast.stmt]] = []
        for branch in (first, second):
            self.statements = []
            results.append(branch())
            branches.append(self.statements)
        self.statements = outer
        if results[0] == results[1]:
            self.statements += branches[0]
            return results[0]
        joined = self._join(results[0], results[1], branches[0], branches[1])
        self.statements.append(ast.If(test, branches[0], branches[1]))
        return joined

    def _join(self, one: Dual, other: Dual, first: list[ast.stmt], second: list[ast.stmt]) -> Dual:
        """Give one name to a number that two branches have computed."""
        value = self._fresh()
        first.append(_assignment(value, _node(one.value)))
        second.append(_assignment(value, _node(other.value)))
        if one.slope is None and other.slope is None:
            return Dual(value, None)
        slope = self._fresh()
        first.append(_assignment(slope, _node(one.slope or 0)))
        second.append(_assignment(slope, _node(other.slope or 0)))
        return Dual(value, slope)

    # --- expressions -----------------------------------------------------------------------------------------------------

    def number(self, node: ast.expr, known: dict[str, Dual | None], scope: "_Scope") -> Dual:
        """Return the number that an expression gives, after writing what computes it."""
        if isinstance(node, ast.Name) and node.id in known:
            found = known[node.id]
            if found is None:
                raise scope.error(node, f"expected {node.id} to be set on every way here")
            return found
        if isinstance(node, (ast.Constant, ast.Name, ast.Attribute)):
            return Dual(scope.constant(node), None)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            operand = self.number(node.operand, known, scope)
            return (
                operand
                if isinstance(node.op, ast.UAdd)
                else Dual(self._negative(operand.value), None if operand.slope is None else self._negative(operand.slope))
            )
        if isinstance(node, ast.BinOp):
            return self._operation(node, known, scope)
        if isinstance(node, ast.IfExp):
            test = self.test(node.test, known, scope)
            return self._choice(test, lambda: self.number(node.body, known, scope), lambda: self.number(node.orelse, known, scope))
        if isinstance(node, (ast.Compare, ast.BoolOp)) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            return self._choice(self.test(node, known, scope), lambda: Dual(1, None), lambda: Dual(0, None))
        if isinstance(node, ast.Call):
            return self._called(node, known, scope)
        raise scope.error(node, f"expected numbers, + - * / **, comparisons, conditional expressions and calls, got {ast.unparse(node)}")

    def test(self, node: ast.expr, known: dict[str, Dual | None], scope: "_Scope") -> ast.expr:
        """Return an expression that is true or false, of names and numbers alone, after writing what computes them."""
        if isinstance(node, ast.BoolOp):
            return ast.BoolOp(node.op, [self.test(value, known, scope) for value in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ast.UnaryOp(ast.Not(), self.test(node.operand, known, scope))
        if isinstance(node, ast.Compare) and all(isinstance(operator, COMPARISONS) for operator in node.ops):
            numbers = [_node(self.number(operand, known, scope).value) for operand in (node.left, *node.comparators)]
            return ast.Compare(numbers[0], node.ops, numbers[1:])
        raise scope.error(node, f"expected a comparison such as z > 0, with and, or, not, got {ast.unparse(node)}")

    def _operation(self, node: ast.BinOp, known: dict[str, Dual | None], scope: "_Scope") -> Dual:
        u, v = self.number(node.left, known, scope), self.number(node.right, known, scope)
        if isinstance(node.op, ast.Pow):
            return self._power(u, v)
        if type(node.op) not in OPERATORS:
            raise scope.error(node, f"expected one of + - * / **, got {ast.unparse(node)}")
        return self._binary(node.op, u, v)

    def _binary(self, operator: ast.operator, u: Dual, v: Dual) -> Dual:
        value = self._emit(operator, u.value, v.value)
        if isinstance(operator, (ast.Add, ast.Sub)):
            return Dual(value, self._sum(operator, u.slope, v.slope))
        if isinstance(operator, ast.Mult):
            return Dual(value, self._sum(ast.Add(), self._scaled(v.slope, u.value), self._scaled(u.slope, v.value)))
        # (u / v)' = (u' - (u / v) v') / v: without v^2, which overflows where v does not
        top = self._sum(ast.Sub(), u.slope, self._scaled(v.slope, value))
        return Dual(value, None if top is None else self._emit(ast.Div(), top, v.value))

    def _power(self, u: Dual, v: Dual) -> Dual:
        if not isinstance(v.value, str):
            exponent = float(v.value)
            if exponent in (0.5, -0.5):
                root = self._function("sqrt", u)
                return root if exponent > 0 else self._binary(ast.Div(), Dual(1, None), root)
            if exponent.is_integer() and abs(exponent) <= MOST_FACTORS:
                product = Dual(1, None)
                for _ in range(int(abs(exponent))):
                    product = self._binary(ast.Mult(), product, u)
                return product if exponent >= 0 else self._binary(ast.Div(), Dual(1, None), product)
        value = self._call("power", u.value, v.value)
        slope = None
        if u.slope is not None:  # v u^(v - 1) u'
            below = self._call("power", u.value, self._emit(ast.Sub(), v.value, 1))
            slope = self._emit(ast.Mult(), self._emit(ast.Mult(), v.value, below), u.slope)
        if v.slope is not None:  # u^v log(u) v'
            growth = self._emit(ast.Mult(), self._emit(ast.Mult(), value, self._call("log", u.value)), v.slope)
            slope = self._sum(ast.Add(), slope, growth)
        return Dual(value, slope)

    def _called(self, node: ast.Call, known: dict[str, Dual | None], scope: "_Scope") -> Dual:
        function = scope.value(node.func)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise scope.error(node, f"expected plain arguments, got {ast.unparse(node)}")
        name = _elementary_name(function)
        if name == "where" and len(node.args) == 3:
            test = self.test(node.args[0], known, scope)
            return self._choice(test, lambda: self.number(node.args[1], known, scope), lambda: self.number(node.args[2], known, scope))
        arguments = [self.number(argument, known, scope) for argument in node.args]
        if name in ("min", "max") and len(arguments) > 1:
            result = arguments[0]
            for argument in arguments[1:]:
                result = self._extreme(ast.GtE() if name == "max" else ast.LtE(), result, argument)
            return result
        if name == "power" and len(arguments) == 2:
            return self._power(*arguments)
        if name == "square" and len(arguments) == 1:
            return self._binary(ast.Mult(), arguments[0], arguments[0])
        if name == "float" and len(arguments) == 1:
            return arguments[0]
        if name in (*FUNCTIONS, "abs") and len(arguments) == 1:
            return self._function(name, arguments[0])
        plain = _plain(function)
        if name is None and plain is not None:
            return self.call(plain, arguments)
        raise scope.error(node, f"expected a call of {SUPPORTED}, or of a Python function made of these, got {ast.unparse(node)}")

    def _extreme(self, order: ast.cmpop, u: Dual, v: Dual) -> Dual:
        """Return the larger or smaller of two numbers. A NaN beside a constant stays one; at a tie the slope is that of the constant."""
        fixed, moving = (v, u) if isinstance(u.value, str) else (u, v)
        return self._choice(_comparison(fixed.value, order, moving.value), lambda: fixed, lambda: moving)

    def _function(self, name: str, u: Dual) -> Dual:
        """Return f(u) and f'(u) u' for an elementary function."""
        if name == "exp" and self.differentiate:
            name = "exp_bounded"
        value = self._call(name, u.value)
        if u.slope is None:
            return Dual(value, None)
        one, two = 1, 2
        multiply, x = ast.Mult(), u.value
        if name == "exp_bounded":
            factor = value
        elif name == "expm1":
            factor = self._emit(ast.Add(), value, one)
        elif name == "log":
            return Dual(value, self._emit(ast.Div(), u.slope, x))
        elif name == "log1p":
            return Dual(value, self._emit(ast.Div(), u.slope, self._emit(ast.Add(), one, x)))
        elif name == "sqrt":
            return Dual(value, self._emit(ast.Div(), u.slope, self._emit(multiply, two, value)))
        elif name == "tanh":
            factor = self._emit(ast.Sub(), one, self._emit(multiply, value, value))
        elif name in ("erf", "erfc"):  # 2 / sqrt(pi) exp(-x^2)
            scale = 2 / math.sqrt(math.pi) * (1 if name == "erf" else -1)
            factor = self._emit(multiply, scale, self._call("exp_bounded", self._negative(self._emit(multiply, x, x))))
        elif name == "sin":
            factor = self._call("cos", x)
        elif name == "cos":
            factor = self._negative(self._call("sin", x))
        else:  # abs: its sign, 0 at 0
            below = functools.partial(self._choice, _comparison(x, ast.Lt(), 0), lambda: Dual(-1, None), lambda: Dual(0, None))
            sign = self._choice(_comparison(x, ast.Gt(), 0), lambda: Dual(1, None), below)
            factor = sign.value
        return Dual(value, self._emit(multiply, factor, u.slope))

    def _sum(self, operator: ast.operator, first: Atom | None, second: Atom | None) -> Atom | None:
        """Return first + second, or first - second, where None is 0."""
        if second is None:
            return first
        if first is None:
            return self._negative(second) if isinstance(operator, ast.Sub) else second
        return self._emit(operator, first, second)

    def _negative(self, atom: Atom) -> Atom:
        return self._assign(ast.UnaryOp(ast.USub(), _node(atom))) if isinstance(atom, str) else -atom

    def _scaled(self, slope: Atom | None, factor: Atom) -> Atom | None:
        return None if slope is None else self._emit(ast.Mult(), factor, slope)

    def _emit(self, operator: ast.operator, left: Atom, right: Atom) -> Atom:
        """Return left operator right: computed now where both are numbers, left out where a factor is 1 or -1, else written down."""
        if not isinstance(left, str) and not isinstance(right, str):
            folded = _folded(operator, left, right)
            if folded is not None:
                return folded
        for one, other in ((left, right), (right, left)):
            if isinstance(operator, ast.Mult) and one in (1, -1):
                return other if one == 1 else self._negative(other)
        if isinstance(operator, ast.Div) and right == 1:
            return left
        return self._assign(ast.BinOp(_node(left), operator, _node(right)))

    def _call(self, name: str, *arguments: Atom) -> Atom:
        numbers = [float(argument) for argument in arguments if not isinstance(argument, str)]
        if len(numbers) == len(arguments):
            known: float = getattr(elementary, name, abs)(*numbers)
            if math.isfinite(known):
                return known
        return self._assign(ast.Call(ast.Name(name, ast.Load()), [_node(argument) for argument in arguments], []))

    def _assign(self, expression: ast.expr) -> str:
        fresh = self._fresh()
        self.statements.append(_assignment(fresh, expression))
        return fresh

    def _fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"


class _Scope:
    """What the names in a function mean that are not local to it, and where errors in it are said to be."""

    def __init__(self, function: types.FunctionType) -> None:
        self._function = function
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self._closure = dict(cells)

    def constant(self, node: ast.expr) -> int | float:
        """Return a literal, or the number that a global name, a name of the enclosing function or of a module stands for."""
        value: Any = node.value if isinstance(node, ast.Constant) else self.value(node)
        is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not is_number or math.isnan(value):
            raise self.error(node, f"expected a number, got {ast.unparse(node)}, which is {_kind(value)}")
        found: int | float = value.item() if isinstance(value, np.generic) else value
        return found

    def value(self, node: ast.expr) -> Any:
        """Return what a name outside of the function stands for now."""
        if isinstance(node, ast.Attribute):
            module = self.value(node.value)
            if isinstance(module, types.ModuleType) and hasattr(module, node.attr):
                return getattr(module, node.attr)
        elif isinstance(node, ast.Name):
            if node.id in self._closure:
                try:
                    return self._closure[node.id].cell_contents
                except ValueError:
                    raise self.error(node, f"expected {node.id} to have a value when this is registered") from None
            for names in (self._function.__globals__, vars(builtins)):
                if node.id in names:
                    return names[node.id]
        hint = "; import it, for example from math" if isinstance(node, ast.Name) and node.id in FUNCTIONS else ""
        raise self.error(node, f"expected a number or a function, got the unknown name {ast.unparse(node)}{hint}")

    def error(self, node: ast.AST | None, message: str) -> ConfigError:
        """Return an error in one line: the function, the line of the file where that is known, what was expected."""
        place = ""
        if node is not None and hasattr(node, "lineno"):
            place = f", line {self._function.__code__.co_firstlineno + node.lineno - 1}"
        return ConfigError(f"{self._function.__name__}{place}: {message}")


def _plain(function: Any) -> types.FunctionType | None:
    """Return the Python function under a compiled one, and a Python function itself; None for anything else."""
    function = getattr(function, "py_func", function)
    return function if isinstance(function, types.FunctionType) else None


def _tree_of(function: types.FunctionType | None) -> ast.FunctionDef:
    """Return the definition of a function as a tree, from the file or the cell that it stands in."""
    if function is None or function.__name__ == "<lambda>":
        raise ConfigError("expected a function made by def, whose source can be read, got a lambda or none; write: def name(z): return …")
    try:
        lines = inspect.getsource(function)
    except (OSError, TypeError):
        raise ConfigError(
            f"{function.__name__}: expected a function whose source can be read, got one without a file; put it into a file or a notebook"
        ) from None
    tree = ast.parse(textwrap.dedent(lines)).body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise ConfigError(f"{function.__name__}: expected a function made by def, got other source")
    return tree


def _elementary_name(function: Any) -> str | None:
    """Return what a function is called here, None for one that is not known."""
    for name, known in OTHER_NAMES.items():
        if any(function is one for one in known):
            return name
    name = getattr(function, "__name__", "")
    is_library = any(function is getattr(home, name, None) for home in (math, elementary)) or isinstance(function, np.ufunc)
    return name if name in FUNCTIONS and is_library else None


def _kind(value: Any) -> str:
    return "not a number" if isinstance(value, float) else f"a {type(value).__name__}"


def _node(atom: Atom) -> ast.expr:
    return ast.Name(atom, ast.Load()) if isinstance(atom, str) else ast.Constant(atom)


def _assignment(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _comparison(left: Atom, operator: ast.cmpop, right: Atom) -> ast.expr:
    return ast.Compare(_node(left), [operator], [_node(right)])


def _folded(operator: ast.operator, left: float, right: float) -> float | None:
    """Return the result of an operation on two numbers; None where there is none."""
    try:
        if isinstance(operator, ast.Add):
            return left + right
        if isinstance(operator, ast.Sub):
            return left - right
        return left * right if isinstance(operator, ast.Mult) else left / right
    except (OverflowError, ZeroDivisionError):
        return None

// SPDX-License-Identifier: Apache-2.0
// Tokens whose logs do not tell their balances ("lying"), and honest tokens of an unusual form ("odd").
pragma solidity 0.8.28;

abstract contract Book {
    mapping(address => uint256) internal book;

    function move(address from, address to, uint256 amount) internal {
        book[from] -= amount;
        book[to] += amount;
    }
}

abstract contract Logged is Book {
    event Transfer(address indexed from, address indexed to, uint256 amount);

    function balanceOf(address account) external view virtual returns (uint256) {
        return book[account];
    }
}

/// Lies: logs the full amount, credits 99 % of it; the rest vanishes without a log.
contract FeeToken is Logged {
    string public constant name = "Fee On Transfer";
    string public constant symbol = "FEE";
    uint8 public constant decimals = 18;

    function mint(address to, uint256 amount) external {
        book[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        book[msg.sender] -= amount;
        book[to] += amount - amount / 100;
        emit Transfer(msg.sender, to, amount);
        return true;
    }
}

/// Lies: balances are shares times an index that moves without a log.
contract RebasingToken is Logged {
    string public constant name = "Rebasing";
    string public constant symbol = "REB";
    uint8 public constant decimals = 18;
    uint256 public index = 1e18;

    function balanceOf(address account) external view override returns (uint256) {
        return book[account] * index / 1e18;
    }

    function mint(address to, uint256 amount) external {
        book[to] += amount * 1e18 / index;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        move(msg.sender, to, amount * 1e18 / index);
        emit Transfer(msg.sender, to, amount);
        return true;
    }

    function rebase(uint256 newIndex) external {
        require(newIndex != 0, "index");
        index = newIndex;
    }
}

/// Lies: logs movements that never happened, of any amount, between anyone.
contract PhantomToken is Logged {
    string public constant name = "Phantom";
    string public constant symbol = "BOO";
    uint8 public constant decimals = 6;

    function mint(address to, uint256 amount) external {
        book[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
        return true;
    }

    function pretend(address from, address[] calldata to, uint256 amount) external {
        for (uint256 i = 0; i < to.length; i++) emit Transfer(from, to[i], amount);
    }
}

/// Lies: mint and burn leave no log; transfers do.
contract SilentToken is Logged {
    string public constant name = "Silent Mint";
    string public constant symbol = "HUSH";
    uint8 public constant decimals = 18;

    function mint(address to, uint256 amount) external {
        book[to] += amount;
    }

    function burn(uint256 amount) external {
        book[msg.sender] -= amount;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
        return true;
    }
}

/// Odd: symbol and name are bytes32 (as MKR), and decimals is a number that no uint8 can hold.
contract Bytes32Token is Logged {
    bytes32 public constant name = "Bytes Thirty Two";
    bytes32 public constant symbol = "B32";
    uint256 public constant decimals = 300;

    function mint(address to, uint256 amount) external {
        book[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
        return true;
    }
}

/// Odd: no name, symbol, or decimals; transfer returns nothing (as USDT).
contract BareToken is Logged {
    function mint(address to, uint256 amount) external {
        book[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external {
        move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
    }
}

/// Odd: Transfer with nothing indexed: one topic, three words of data.
contract UnindexedToken is Book {
    string public constant name = "Unindexed";
    string public constant symbol = "OLD0";
    uint8 public constant decimals = 0;

    event Transfer(address from, address to, uint256 amount);

    function balanceOf(address account) external view returns (uint256) {
        return book[account];
    }

    function mint(address to, uint256 amount) external {
        book[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
        return true;
    }
}

/// Odd: only the sender is indexed: two topics, two words of data.
contract HalfIndexedToken is Book {
    string public constant name = "Half Indexed";
    string public constant symbol = "OLD1";
    uint8 public constant decimals = 8;

    event Transfer(address indexed from, address to, uint256 amount);

    function balanceOf(address account) external view returns (uint256) {
        return book[account];
    }

    function mint(address to, uint256 amount) external {
        book[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        move(msg.sender, to, amount);
        emit Transfer(msg.sender, to, amount);
        return true;
    }
}

// SPDX-License-Identifier: Apache-2.0
// Every way in which native value moves inside a transaction, and ways in which it seems to move and does not.
pragma solidity 0.8.28;

/// Accepts value and passes it on when told to; destroys itself when told to.
contract Child {
    constructor() payable {}

    receive() external payable {}

    function forward(address payable to) external payable {
        (bool ok,) = to.call{value: msg.value}("");
        require(ok, "forward");
    }

    function refuse() external payable {
        revert("refused");
    }

    /// Sends value on, then fails: the inner transfer must be undone with it.
    function forwardThenRefuse(address payable to) external payable {
        (bool ok,) = to.call{value: msg.value}("");
        require(ok, "forward");
        revert("refused late");
    }

    function destroy(address payable beneficiary) external payable {
        selfdestruct(beneficiary);
    }
}

contract RefusingChild {
    constructor() payable {
        revert("not born");
    }
}

/// Destroys itself while it is constructed.
contract Mayfly {
    constructor(address payable beneficiary) payable {
        selfdestruct(beneficiary);
    }
}

/// Code that others run by delegatecall: value moves from the caller's account, not from this one.
contract Library {
    receive() external payable {}

    function pay(address payable to, uint256 amount) external payable {
        (bool ok,) = to.call{value: amount}("");
        require(ok, "pay");
    }
}

contract Splitter {
    Child public child;
    Library public lib;

    event Made(address made);

    constructor() payable {
        child = new Child();
        lib = new Library();
    }

    receive() external payable {}

    function split(address payable[] calldata to) external payable {
        uint256 share = msg.value / to.length;
        for (uint256 i = 0; i < to.length; i++) {
            (bool ok,) = to[i].call{value: share}("");
            require(ok, "split");
        }
    }

    /// Two calls deep, and a third back through this contract.
    function nested(address payable to) external payable {
        child.forward{value: msg.value / 2}(payable(address(this)));
        child.forward{value: msg.value / 2}(to);
    }

    /// Inner calls with value that fail, at the leaf and above it; the transaction succeeds.
    function tries(address payable to) external payable {
        (bool a,) = address(child).call{value: msg.value / 4}(abi.encodeCall(Child.refuse, ()));
        (bool b,) = address(child).call{value: msg.value / 4}(abi.encodeCall(Child.forwardThenRefuse, (to)));
        require(!a && !b, "should fail");
        (bool c,) = to.call{value: msg.value / 4}("");
        require(c, "last");
    }

    /// An inner call that runs out of gas after it paid.
    function starves(address payable to) external payable {
        (bool ok,) = address(this).call{value: msg.value, gas: 60000}(abi.encodeCall(this.payAndSpin, (to)));
        require(!ok, "should starve");
    }

    function payAndSpin(address payable to) external payable {
        (bool ok,) = to.call{value: msg.value}("");
        require(ok, "pay");
        uint256 i;
        while (true) i++;
    }

    /// The delegate's call moves this contract's value; the delegatecall itself shows msg.value and moves nothing.
    function delegates(address payable to) external payable {
        (bool ok,) = address(lib).delegatecall(abi.encodeCall(Library.pay, (to, msg.value)));
        require(ok, "delegate");
    }

    /// CALLCODE with value: from this contract to this contract.
    function callcodes(address payable to) external payable {
        bytes memory data = abi.encodeCall(Library.pay, (to, msg.value));
        address target = address(lib);
        bool ok;
        assembly {
            ok := callcode(gas(), target, callvalue(), add(data, 32), mload(data), 0, 0)
        }
        require(ok, "callcode");
    }

    function creates() external payable {
        emit Made(address(new Child{value: msg.value}()));
    }

    function creates2(bytes32 salt) external payable {
        emit Made(address(new Child{value: msg.value, salt: salt}()));
    }

    /// A creation with value whose constructor fails: the value comes back.
    function createFails() external payable {
        try new RefusingChild{value: msg.value}() {
            revert("should fail");
        } catch {}
    }

    /// Created and destroyed in one transaction, for another's benefit: the account is gone afterwards (EIP-6780).
    function bornAndGone(bytes32 salt, address payable beneficiary) external payable {
        Child made = new Child{value: msg.value, salt: salt}();
        made.destroy(beneficiary);
    }

    /// Created and destroyed in one transaction, to itself: its value is burned.
    function bornAndBurned(bytes32 salt) external payable {
        Child made = new Child{value: msg.value, salt: salt}();
        made.destroy(payable(address(made)));
    }

    /// Destroyed first and paid afterwards in the same transaction: what it holds at the end is burned.
    function goneThenPaid(bytes32 salt, address payable beneficiary) external payable {
        Child made = new Child{value: msg.value / 2, salt: salt}();
        made.destroy(beneficiary);
        (bool ok,) = address(made).call{value: msg.value / 2}("");
        require(ok, "paid");
    }

    function mayfly(address payable beneficiary) external payable {
        new Mayfly{value: msg.value}(beneficiary);
    }

    /// A Child of an earlier transaction: after EIP-6780 it keeps its code and only its balance goes.
    function makeOld(bytes32 salt) external payable returns (address) {
        return address(new Child{value: msg.value, salt: salt}());
    }
}

contract Failing {
    uint256 public spent;

    constructor() payable {}

    /// Spends gas, pays, logs, and takes it all back.
    function fail(address payable to) external payable {
        for (uint256 i = 0; i < 20; i++) spent += i;
        (bool ok,) = to.call{value: msg.value}("");
        require(ok, "pay");
        revert("after all");
    }

    /// Takes all gas given.
    function burnAll() external payable {
        assembly {
            invalid()
        }
    }
}

/// Deployed with value, and fails: the creation is a failed transaction.
contract Stillborn {
    constructor() payable {
        revert("stillborn");
    }
}

/// What an EOA delegates to (EIP-7702): its account then runs this code.
contract Delegate {
    event Ran(address self, uint256 value);

    receive() external payable {}

    function sweep(address payable[] calldata to) external payable {
        emit Ran(address(this), msg.value);
        for (uint256 i = 0; i < to.length; i++) {
            (bool ok,) = to[i].call{value: msg.value / to.length}("");
            require(ok, "sweep");
        }
    }

    function onERC721Received(address, address, uint256, bytes calldata) external pure returns (bytes4) {
        return this.onERC721Received.selector;
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external pure returns (bytes4) {
        return this.onERC1155Received.selector;
    }

    function onERC1155BatchReceived(address, address, uint256[] calldata, uint256[] calldata, bytes calldata)
        external
        pure
        returns (bytes4)
    {
        return this.onERC1155BatchReceived.selector;
    }
}
